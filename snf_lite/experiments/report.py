"""The paper's tables beside the stored runs, as text: ``python -m snf_lite results``."""

from typing import Any

from snf_lite.experiments.paper_tables import ROWS, PaperRow
from snf_lite.experiments.results import Group, Parity, parities

FOOTNOTE = (
    "Values are exact test values at the best validation epoch, ± the standard deviation over seeds. Times: the\n"
    "paper's, of 2020 hardware / ours, medians of the runs themselves, which may have shared their machine (for speed\n"
    "see the benchmarks of record, data/runs/bench-*); of a sample through g / through f⁻¹."
)
#: Width of each column, and its heading.
_WIDTHS = (46, 15, 15, 6, 7, 15, 20, 11)
_HEAD = ("", "paper", "here", "seeds", "epochs", "ms a batch", "ms a sample", "g from f⁻¹")


def _aligned(*cells: Any) -> str:
    first, *others = zip(cells, _WIDTHS, strict=False)
    return " ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]).rstrip()


def report(groups: list[Group]) -> str:
    """The tables with the runs of each row, or the command that runs it, and the gaps between matched pairs."""
    sections = []
    for number in (1, 2):
        rows = [row for row in ROWS.values() if row.table == number]
        data = " and ".join(dict.fromkeys(row.data for row in rows))
        sections.append([f"Table {number}: {data}, test {rows[0].unit}", _aligned(*_HEAD)])
        for row in rows:
            own = [group for group in groups if group.row == row and group.data == row.data]
            sections[-1] += [line for group in own for line in _lines(group)] or _not_run(row)
    for data in sorted({group.data for group in groups if group.data != group.row.data}):
        own = [group for group in groups if group.data == data and group.row.data != data]
        sections.append([f"The same models on {data}, test {own[0].row.unit}", _aligned(*_HEAD)])
        sections[-1] += [line for group in own for line in _lines(group)]
    return "\n\n".join(["\n".join(lines) for lines in (*sections, _parities(parities(groups)), [FOOTNOTE])])


def _lines(group: Group) -> list[str]:
    reported, compared = group.row.reported, group.data == group.row.data
    here = _value(group.row, group.mean, group.deviation)
    learned, exact = (f"{group.sampling(f'{kind}_ms_per_sample'):.2g}" for kind in ("learned", "exact"))
    details = [", ".join(group.records), f"differs from the paper: {'; '.join(group.differences()) or 'in nothing'}"]
    cells = (
        group.row.title, _reported(group.row) if compared else "–", here, len(group.values), group.epochs,
        f"{_known(reported.batch_ms, compared)} / {group.batch_ms:.3g}",
        f"{_known(reported.sample_ms, compared)} / {learned} / {exact}",
        f"{group.sampling('relative_distance'):.4f}",
    )  # fmt: skip
    return [_aligned(*cells), *(f"    {line}" for line in (*details, group.row.note) if line)]


def _value(row: PaperRow, mean: float, deviation: float | None) -> str:
    digits = 1 if row.unit == "nats" else 3
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _reported(row: PaperRow) -> str:
    return _value(row, row.reported.value, row.reported.deviation)


def _known(number: float | None, compared: bool) -> str:
    return "–" if number is None or not compared else f"{number:g}"


def _not_run(row: PaperRow) -> list[str]:
    command = f"python -m snf_lite reproduce --rows {row.name} --data {row.data} --preset paper"
    return [_aligned(row.title, _reported(row), "not run"), *(f"    {line}" for line in (command, row.note) if line)]


def _parities(found: list[Parity]) -> list[str]:
    lines = ["Parity: self-normalizing minus exact at equal settings; positive where the exact twin is better"]
    for parity in found:
        unit, digits = parity.learned.row.unit, 2 if parity.learned.row.unit == "nats" else 4
        each = ", ".join(f"{gap:+.{digits}f}" for gap in parity.gaps.values())
        words = f"{parity.learned.row.model} on {parity.learned.data}, {parity.learned.epochs} epochs"
        runs_of = ", ".join(parity.learned.records)
        lines.append(f"{words:<46} {parity.mean:+.{digits}f} {unit} (by seed: {each}; {runs_of})")
    return lines if found else [*lines, "no pair was run yet"]
