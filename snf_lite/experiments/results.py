"""The paper's tables beside the runs of record: what each row came to, at which settings, and what differs."""

import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snf_lite.experiments.paper_tables import ROWS, TWINS, PaperRow, row_of
from snf_lite.experiments.record import Record, read_record
from snf_lite.models import known_settings
from snf_lite.training.settings import TrainingConfig

#: Settings of a run that change neither its result's meaning nor what it is compared by.
_BYSTANDERS = ("seed", "data", "validation", "compile", "cuda_graph", "evaluate_every", "processes")


@dataclass(frozen=True)
class Group:
    """Runs of one model at one setting, which differ in their seed alone.

    Attributes:
        row: of the paper's tables.
        records: by the name of their folder.
    """

    row: PaperRow
    records: dict[str, Record]

    @property
    def first(self) -> Record:
        return next(iter(self.records.values()))

    @property
    def data(self) -> str:
        return str(self.first.data["train"]["name"])

    @property
    def epochs(self) -> int:
        """How many were trained, of which each run kept the best."""
        return int(self.first.history["epochs"][-1])

    @property
    def values(self) -> dict[int, float]:
        """Exact test value by seed, in the unit of the row's table."""
        key = "nats" if self.row.unit == "nats" else "bits_per_dim"
        return {record.seed: float(record.results["test"][key]) for record in self.records.values()}

    @property
    def mean(self) -> float:
        return statistics.mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None of one run."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def sampling(self, key: str) -> float:
        """The median over the runs of what their records say under ``sampling``."""
        return statistics.median(float(record.sampling[key]) for record in self.records.values())

    @property
    def batch_ms(self) -> float:
        """Milliseconds of a training step, the median over epochs and runs."""
        return statistics.median(ms for record in self.records.values() for ms in record.history["ms_per_step"][1:])

    @property
    def recipe(self) -> dict[str, Any]:
        """What decided the runs, the seed aside."""
        return _recipe_of(self.first)

    def differences(self) -> list[str]:
        """In what the runs differ from the paper's settings; empty where they are the paper's."""
        paper = self.row.recipe("paper", self.row.data, 0, self.row.most_epochs("paper") or self.epochs)
        there = {
            "data": paper.data,
            **{key: value for key, value in asdict(paper.training).items() if key not in _BYSTANDERS},
            **paper.settings,
        }
        own = known_settings(self.row.model)
        untold = {key: own[key] for key in paper.settings}
        here = {"data": self.data, **untold, **self.recipe, "epochs": self.epochs}
        keys = [*there, *(key for key in here if key not in there)]
        return [_difference(key, there.get(key), here.get(key)) for key in keys if there.get(key) != here.get(key)]


def _difference(key: str, there: Any, here: Any) -> str:
    words = key.replace("_", " ")
    if isinstance(here, bool) and not there:
        return words if here else f"no {words}"
    if here is None:
        return f"{words} the builder's own, not {there}"
    return f"{words} {here}" if there is None else f"{words} {here}, not {there}"


def _recipe_of(record: Record) -> dict[str, Any]:
    settings = {**asdict(TrainingConfig()), **record.history["settings"]}  # what is newer than the record: its default
    decided = {key: value for key, value in settings.items() if key not in _BYSTANDERS}
    own = known_settings(record.model["name"])
    return {**decided, **{key: value for key, value in record.model["settings"].items() if own[key] != value}}


def read_all(folder: Path) -> dict[str, Record]:
    """The records of training runs in a folder, by the name of theirs; the errors of ``read_record``."""
    return {path.parent.name: read_record(path) for path in sorted(folder.glob("*/record.json"))}


def grouped(records: dict[str, Record]) -> list[Group]:
    """The runs that belong to a row of the tables, those of one setting together, in the tables' order."""
    found: dict[str, Group] = {}
    for name, record in records.items():
        row = row_of(record.model["name"], record.data["train"]["name"])
        if row is not None:
            settings = sorted(_recipe_of(record).items(), key=lambda item: item[0])
            key = f"{row.name} {record.data['train']['name']} {settings}"
            while key in found and record.seed in found[key].values:
                key += ", again"  # one value for each seed: a second run of one, by several processes say, stands apart
            found.setdefault(key, Group(row, {})).records[name] = record
    order = list(ROWS)
    return sorted(found.values(), key=lambda group: (order.index(group.row.name), group.epochs))


@dataclass(frozen=True)
class Parity:
    """A self-normalizing model beside its exact twin at equal settings.

    Attributes:
        learned, exact: their groups.
        gaps: by seed the learned one's test value minus the exact one's; positive where exact is better.
    """

    learned: Group
    exact: Group
    gaps: dict[int, float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.gaps.values())


def parities(groups: list[Group]) -> list[Parity]:
    """Every pair of twins that was run at equal settings, over their common seeds, with its mean gap (eq-parity)."""
    found = []
    for learned in groups:
        for exact in groups:
            seeds = learned.values.keys() & exact.values.keys()
            if _are_twins(learned, exact) and seeds:
                gaps = {seed: learned.values[seed] - exact.values[seed] for seed in sorted(seeds)}
                found.append(Parity(learned, exact, gaps))
    return found


def _are_twins(learned: Group, exact: Group) -> bool:
    """The same model but for its gradient, the same data, the same everything else."""
    if TWINS.get(learned.row.model) != exact.row.model or learned.data != exact.data:
        return False
    own = ("recon_weight", "tolerance")  # which an exact layer has no use for
    return {key: value for key, value in learned.recipe.items() if key not in own} == exact.recipe


# ---- in words --------------------------------------------------------------------------------------------------------


def report(groups: list[Group]) -> str:
    """The tables, the rows that were not run with the command that runs them, and the parities."""
    sections = [_table(number, groups) for number in (1, 2)]
    others = sorted({group.data for group in groups if group.data != group.row.data})
    sections += [_other_data(data, groups) for data in others]
    return "\n\n".join([*sections, _parity_section(parities(groups)), FOOTNOTE])


FOOTNOTE = (
    "Values are exact test values at the best validation epoch, ± the standard deviation over seeds. Times: the\n"
    "paper's, of 2020 hardware / ours, medians of the runs themselves, which may have shared their machine (for speed\n"
    "see the benchmarks of record, data/runs/bench-*); of a sample through g / through f⁻¹."
)
_WIDTHS = (46, 15, 15, 6, 7, 15, 20, 11)
_HEAD = ("", "paper", "here", "seeds", "epochs", "ms a batch", "ms a sample", "g from f⁻¹")


def _aligned(*cells: Any) -> str:
    first, *others = zip(cells, _WIDTHS, strict=False)
    return " ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]).rstrip()


def _table(number: int, groups: list[Group]) -> str:
    rows = [row for row in ROWS.values() if row.table == number]
    data = " and ".join(dict.fromkeys(row.data for row in rows))
    lines = [f"Table {number}: {data}, test {rows[0].unit}", _aligned(*_HEAD)]
    for row in rows:
        own = [group for group in groups if group.row == row and group.data == row.data]
        lines += [line for group in own for line in _lines(group)] or _not_run(row)
    return "\n".join(lines)


def _other_data(data: str, groups: list[Group]) -> str:
    own = [group for group in groups if group.data == data and group.row.data != data]
    lines = [f"The same models on {data}, test {own[0].row.unit}", _aligned(*_HEAD)]
    return "\n".join([*lines, *(line for group in own for line in _lines(group))])


def _lines(group: Group) -> list[str]:
    reported, compared = group.row.reported, group.data == group.row.data
    here = _value(group.row, group.mean, group.deviation)
    learned, exact = (f"{group.sampling(f'{kind}_ms_per_sample'):.2g}" for kind in ("learned", "exact"))
    told = [", ".join(group.records), f"differs from the paper: {'; '.join(group.differences()) or 'in nothing'}"]
    cells = (
        group.row.title, _reported(group.row) if compared else "–", here, len(group.values), group.epochs,
        f"{_known(reported.batch_ms, compared)} / {group.batch_ms:.3g}",
        f"{_known(reported.sample_ms, compared)} / {learned} / {exact}",
        f"{group.sampling('relative_distance'):.4f}",
    )  # fmt: skip
    return [_aligned(*cells), *(f"    {line}" for line in (*told, group.row.note) if line)]


def _value(row: PaperRow, mean: float, deviation: float | None) -> str:
    digits = 1 if row.unit == "nats" else 3
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _reported(row: PaperRow) -> str:
    return _value(row, row.reported.value, row.reported.deviation)


def _known(number: float | None, compared: bool) -> str:
    return "–" if number is None or not compared else f"{number:g}"


def _not_run(row: PaperRow) -> list[str]:
    command = f"python -m snf_lite reproduce --rows {row.name} --data {row.data} --preset paper"
    told = [command, row.note] if row.note else [command]
    return [_aligned(row.title, _reported(row), "not run"), *(f"    {line}" for line in told)]


def _parity_section(found: list[Parity]) -> str:
    lines = ["Parity: self-normalizing minus exact at equal settings; positive where the exact twin is better"]
    for parity in found:
        unit, digits = parity.learned.row.unit, 2 if parity.learned.row.unit == "nats" else 4
        each = ", ".join(f"{gap:+.{digits}f}" for gap in parity.gaps.values())
        words = f"{parity.learned.row.model} on {parity.learned.data}, {parity.learned.epochs} epochs"
        runs_of = ", ".join(parity.learned.records)
        lines.append(f"{words:<46} {parity.mean:+.{digits}f} {unit} (by seed: {each}; {runs_of})")
    return "\n".join(lines if found else [*lines, "no pair was run yet"])


def problems(record: Record, name: str) -> list[str]:
    """What in a record contradicts itself; empty if nothing does."""
    history, test = record.history, record.results["test"]
    columns = ("epochs", "steps", "seconds", "ms_per_step", "validation_nats")
    bits = test["nats"] / (history["features"] * math.log(2))
    checks = {
        "its history's columns differ in length": len({len(history[column]) for column in columns}) == 1,
        "its test nats and bits/dim do not agree": math.isclose(bits, test["bits_per_dim"], rel_tol=1e-9),
        "its seed is not that of its training": record.seed == history["settings"]["seed"] == test["seed"],
        "its command is another model's": record.command.split()[3:5] == ["train", record.model["name"]],
        "its seconds are not those of its history": record.seconds == history["seconds"][-1],
    }
    return [f"{name}: {problem}" for problem, fine in checks.items() if not fine]
