"""The paper's tables beside the stored runs, as text: ``python -m snf_lite results``."""

import shlex
import textwrap
from collections.abc import Mapping

from snf_lite.experiments.paper_tables import ROWS, PaperRow
from snf_lite.experiments.record import TrainingRecord
from snf_lite.experiments.results import Group, Parity, parities
from snf_lite.training.history import History

FOOTNOTE = """\
Values are exact test values at the best validation epoch, ± the standard
deviation over seeds. Times: the paper's, of 2020 hardware / ours, medians of
the runs themselves, which may have shared their machine (for speed see the
benchmarks of record, data/runs/bench-*); of a sample through g / through f⁻¹."""
#: Width of the tables, and of each column.
WIDTH = 80
_COLUMNS = (44, 15, 15)


def _aligned(title: str, *cells: str) -> str:
    first, *others = _COLUMNS
    return " ".join([f"{title:<{first}}", *(f"{cell:>{width}}" for cell, width in zip(cells, others, strict=True))])


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    """Text of at most ``WIDTH`` columns, indented; a word that is longer, such as a path, stays whole."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def report(groups: list[Group], out: str = "runs") -> str:
    """The tables with the runs of each row, or the command that runs it, and the gaps between matched pairs.

    Args:
        groups: What ``results.grouped`` returned.
        out: Folder of runs for the commands.
    """
    sections = []
    for number in (1, 2):
        rows = [row for row in ROWS.values() if row.table == number]
        data = " and ".join(dict.fromkeys(row.data for row in rows))
        sections.append([_aligned(f"Table {number}: {data}, test {rows[0].unit}", "paper", "here")])
        for row in rows:
            own = [group for group in groups if group.row == row and group.data == row.data]
            sections[-1] += [line for group in own for line in _lines(group)] or _not_run(row, out)
    for data in sorted({group.data for group in groups if group.data != group.row.data}):
        own = [group for group in groups if group.data == data and group.row.data != data]
        sections.append([_aligned(f"The same on {data}, test {own[0].row.unit}", "paper", "here")])
        sections[-1] += [line for group in own for line in _lines(group)]
    return "\n\n".join(["\n".join(lines) for lines in (*sections, _parities(parities(groups)), [FOOTNOTE])])


def own_runs(records: Mapping[str, TrainingRecord], folder: str) -> str:
    """A line for each run in a folder, of any model on any data."""
    longest = min(42, max(map(len, records)))
    lines = [f"Runs in {folder}: exact test values at the best validation epoch, ± standard error"]
    for name, record in records.items():
        test, history = record.results["test"], History.from_dict(record.history)
        error = "" if test["standard_error"] is None else f" ± {test['standard_error']:.2f}"
        shown = f"{test['nats']:.2f}{error} nats, epoch {history.best_epoch} of {history.epochs[-1]}"
        lines.append(f"{name:<{longest}} {shown}" if len(name) <= longest else f"{name}\n{'':<{longest}} {shown}")
    return "\n".join(lines)


def _lines(group: Group) -> list[str]:
    reported, compared = group.row.reported, group.data == group.row.data
    learned, exact = (f"{group.sampling(f'{kind}_ms_per_sample'):.2g}" for kind in ("learned", "exact"))
    here = _value(group.mean, group.deviation, 2 if group.row.unit == "nats" else 4)
    seeds = f"{len(group.values)} seeds" if len(group.values) > 1 else "1 seed"
    measured = (
        f"{seeds}, {group.epochs} epochs; ms a batch {_known(reported.batch_ms, compared)} / {group.batch_ms:.3g}, "
        f"a sample {_known(reported.sample_ms, compared)} / {learned} / {exact}; "
        f"g from f⁻¹ {group.sampling('relative_distance'):.4f}"
    )
    details = [
        measured,
        ", ".join(group.records),
        f"differs from the paper: {'; '.join(group.differences()) or 'in nothing'}",
    ]
    title = _aligned(group.row.title, _reported(group.row) if compared else "–", here)
    return [title, *(line for text in (*details, group.row.note) for line in _wrapped(text))]


def _value(mean: float, deviation: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _reported(row: PaperRow) -> str:
    return _value(row.reported.value, row.reported.deviation, 1 if row.unit == "nats" else 3)


def _known(number: float | None, compared: bool) -> str:
    return "–" if number is None or not compared else f"{number:g}"


def _not_run(row: PaperRow, out: str) -> list[str]:
    own = "" if out == "runs" else f" --out {shlex.quote(out)}"
    command = f"python -m snf_lite reproduce --rows {row.name} --data {row.data} --preset paper{own}"
    return [_aligned(row.title, _reported(row), "not run"), *_wrapped(command), *_wrapped(row.note)]


def _parities(found: list[Parity]) -> list[str]:
    lines = ["Parity: self-normalizing minus exact at equal settings;", "positive where the exact twin is better"]
    for parity in found:
        unit, digits = parity.learned.row.unit, 2 if parity.learned.row.unit == "nats" else 4
        each = ", ".join(f"{gap:+.{digits}f}" for gap in parity.gaps.values())
        words = f"{parity.learned.row.model} on {parity.learned.data}, {parity.learned.epochs} epochs"
        lines.append(f"{words:<46} {parity.mean:+.{digits}f} {unit}")
        lines += _wrapped(f"by seed: {each}; {', '.join(parity.learned.records)}")
    return lines if found else [*lines, "no pair was run yet"]
