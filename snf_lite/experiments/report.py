"""The paper's tables and the models beyond it beside the stored runs, as text: ``python -m snf_lite results``."""

import shlex
import statistics
import textwrap
from collections.abc import Collection, Mapping

from snf_lite.experiments.paper_tables import BEYOND, ROWS, PaperRow, with_twins
from snf_lite.experiments.record import TrainingRecord
from snf_lite.experiments.results import Comparison, Group, Parity, comparisons, parities
from snf_lite.training.history import History

FOOTNOTE = """\
Values are exact test values at the best validation epoch, ± the standard
deviation over seeds. Times: the paper's, of 2020 hardware / ours, medians of
the runs themselves, which may have shared their machine (for speed see the
benchmarks of record, data/runs/bench-*); of a sample through g / through f⁻¹.
Beyond the paper: differences are paired by seed, ± their standard error."""
#: Width of the tables, and of each column.
WIDTH = 80
_COLUMNS = (44, 15, 15)


def _aligned(title: str, *cells: str) -> str:
    first, *others = _COLUMNS
    columns = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, others, strict=True))
    excess = max(0, len(title) - first)  # of a long title, taken from the blanks before the columns
    return f"{title:<{first}} {columns.lstrip().rjust(len(columns) - excess)}".rstrip()


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    """Text of at most ``WIDTH`` columns, indented; a word that is longer, such as a path, stays whole."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def report(groups: list[Group], out: str = "runs", steps: Mapping[tuple[str, int, int], float] | None = None) -> str:
    """The tables with the runs of each row, or the command that runs it, and the gaps between matched pairs.

    Args:
        groups: What ``results.grouped`` returned.
        out: Folder of runs for the commands.
        steps: Time of a training step over that of the exact twin's, by model, D and batch size.
    """
    sections = []
    for number in (1, 2):
        rows = [row for row in ROWS.values() if row.table == number]
        data = " and ".join(dict.fromkeys(row.data for row in rows))
        sections.append([_aligned(f"Table {number}: {data}, test {rows[0].unit}", "paper", "here")])
        for row in rows:
            own = [group for group in groups if group.row == row and group.data == row.data]
            sections[-1] += [line for group in own for line in _lines(group)] or _not_run(row, out)
    others = [group for group in groups if group.data != group.row.data and group.row.reported]
    for data in sorted({group.data for group in others}):
        own = [group for group in others if group.data == data]
        sections.append([_aligned(f"The same on {data}, test {own[0].row.unit}", "paper", "here")])
        sections[-1] += [line for group in own for line in _lines(group)]
    sections += [_beyond(groups, steps or {}, out), _parities(parities(groups))]
    return "\n\n".join("\n".join(lines) for lines in (*sections, [FOOTNOTE]))


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
    reported = group.row.reported if group.data == group.row.data else None
    batch, sample = (reported.batch_ms, reported.sample_ms) if reported else (None, None)
    learned, exact = (f"{group.sampling(f'{kind}_ms_per_sample'):.2g}" for kind in ("learned", "exact"))
    value = _value(group.mean, group.deviation, 2 if group.row.unit == "nats" else 4)
    here = "diverged" if group.diverged else value
    measured = (
        f"{_counted(group.values, 'seed')}, {group.epochs} epochs; "
        f"ms a batch {_known(batch)} / {group.batch_ms:.3g}, "
        f"a sample {_known(sample)} / {learned} / {exact}; "
        f"g from f⁻¹ {group.sampling('relative_distance'):.4f}"
    )
    details = [
        measured,
        ", ".join(group.records),
        f"differs from the paper: {'; '.join(group.differences()) or 'in nothing'}",
    ]
    title = _aligned(group.title, _reported(group.row) if reported else "–", here)
    return [title, *(line for text in (*details, group.row.note) for line in _wrapped(text))]


def _value(mean: float, deviation: float | None, digits: int, sign: str = "") -> str:
    return f"{mean:{sign}.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _reported(row: PaperRow) -> str:
    reported = row.reported
    return "–" if reported is None else _value(reported.value, reported.deviation, 1 if row.unit == "nats" else 3)


def _known(number: float | None) -> str:
    return "–" if number is None else f"{number:g}"


def _counted(things: Collection[object], name: str) -> str:
    return f"{len(things)} {name}" + ("s" if len(things) != 1 else "")


def _not_run(row: PaperRow, out: str) -> list[str]:
    own = "" if out == "runs" else f" --out {shlex.quote(out)}"
    rows, how = (row.name, "--preset paper") if row.reported else (" ".join(with_twins(row.name)), "--repeats 3")
    command = f"python -m snf_lite reproduce --rows {rows} --data {row.data} {how}{own}"
    return [_aligned(row.title, _reported(row), "not run"), *_wrapped(command), *_wrapped(row.note)]


def _parities(found: list[Parity]) -> list[str]:
    lines = ["Parity: self-normalizing minus exact at equal settings;", "positive where the exact twin is better"]
    for parity in found:
        each = ", ".join(f"{gap:+.2f}" for gap in parity.gaps.values())
        words = f"{parity.learned.row.model} on {parity.learned.data}, {parity.learned.epochs} epochs"
        lines.append(f"{words:<46} {parity.mean:+.2f} nats")
        lines += _wrapped(f"by seed: {each}; {', '.join(parity.learned.records)}")
    return lines if found else [*lines, "no pair was run yet"]


def _beyond(groups: list[Group], steps: Mapping[tuple[str, int, int], float], out: str) -> list[str]:
    """The models beyond the paper, each with its exact twin and the paper's self-normalizing model."""
    lines = [_aligned("Beyond the paper: mean test nats", "here", "minus exact")]
    compared = comparisons(groups)
    beside: dict[int, list[Comparison]] = {}  # those with the same exact twin
    for found in compared:
        beside.setdefault(id(found.beyond.exact), []).append(found)
    for alike in beside.values():
        exact = alike[0].beyond.exact
        pairs = [pair for pair in (alike[0].paper, *(found.beyond for found in alike)) if pair]
        mean = statistics.mean(exact.nats[seed] for seed in {seed for pair in pairs for seed in pair.gaps})
        lines.append(f"{exact.row.model.split('-')[0]} on {exact.data}, {exact.epochs} epochs")
        lines.append(_aligned(f"  {exact.title}", f"{mean:.2f}", ""))
        lines += [line for pair in pairs for line in _difference(pair, steps)]
    shown = {id(found.beyond.learned) for found in compared}
    for group in groups:
        if group.row.reported is None and id(group) not in shown:
            lines += [*_lines(group), *_wrapped("no exact twin was run at these settings and seeds")]
    run = {group.row.name for group in groups}
    return [*lines, *(line for row in BEYOND.values() if row.name not in run for line in _not_run(row, out))]


def _difference(pair: Parity, steps: Mapping[tuple[str, int, int], float]) -> list[str]:
    """A model's mean over the seeds that its exact twin has too, and the difference from the twin over these."""
    group, history = pair.learned, pair.learned.first.history
    here = f"{statistics.mean(pair.values(group)):.2f}"
    gaps = ", ".join(f"{gap:+.3f}" for gap in pair.gaps.values())
    own = "".join(f"; {key.replace('_', ' ')} {value}" for key, value in pair.own_settings.items())
    step = steps.get((group.row.model, history["features"], history["settings"]["batch_size"]))
    known = "" if step is None or own else f"; a step {step:.2f} of the exact twin's"  # timed at the defaults
    words = f"{_counted(pair.gaps, 'pair')}: {gaps}{own}{known}; {', '.join(group.records)}"
    title = _aligned(f"  {group.title}", here, _value(pair.mean, pair.standard_error, 3, "+"))
    return [title, *_wrapped(words)]
