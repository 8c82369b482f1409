"""The stored runs by row of the paper's tables and beyond: results, settings, and differences from the paper."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snf_lite.experiments.paper_tables import ALL_ROWS, BEYOND_TWINS, PRESETS, TWINS, PaperRow, row_of
from snf_lite.experiments.record import TrainingRecord, read_record
from snf_lite.models import known_settings
from snf_lite.training.settings import completed

#: Settings that do not decide whether two runs can be compared.
_UNCOMPARED = ("seed", "data", "validation", "compile", "cuda_graph", "evaluate_every", "processes")


@dataclass(frozen=True)
class Group:
    """Runs of one model at one setting, which differ only in their seed.

    Attributes:
        row: Row of the paper's tables, or one beyond them.
        records: Record by folder name.
    """

    row: PaperRow
    records: dict[str, TrainingRecord]

    @property
    def first(self) -> TrainingRecord:
        return next(iter(self.records.values()))

    @property
    def diverged(self) -> bool:
        """Whether these are runs that diverged (``TrainingRecord.diverged``); they have groups of their own."""
        return self.first.diverged

    @property
    def data(self) -> str:
        return str(self.first.data["train"]["name"])

    @property
    def epochs(self) -> int:
        """Number of epochs trained; each run kept the best one."""
        return int(self.first.history["epochs"][-1])

    @property
    def values(self) -> dict[int, float]:
        """Exact test value by seed, in the unit of the row's table."""
        return self._test("nats" if self.row.unit == "nats" else "bits_per_dim")

    @property
    def nats(self) -> dict[int, float]:
        """Exact test value by seed, in nats whatever the table's unit."""
        return self._test("nats")

    def _test(self, key: str) -> dict[int, float]:
        return {record.seed: float(record.results["test"][key]) for record in self.records.values()}

    @property
    def mean(self) -> float:
        return statistics.mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None for a single run."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def sampling(self, key: str) -> float:
        """Median over the runs of an entry of ``sampling``."""
        return statistics.median(float(record.sampling[key]) for record in self.records.values())

    @property
    def batch_ms(self) -> float:
        """Milliseconds per training step, median over epochs and runs."""
        return statistics.median(ms for record in self.records.values() for ms in record.history["ms_per_step"][1:])

    @property
    def title(self) -> str:
        """The row's title; of a model that is not of the paper's size, with its own size in place of the paper's."""
        own, paper = model_size(self.row, self.configuration), model_size(self.row, self.row.settings)
        return self.row.title if own == paper else f"{self.row.title.split(',')[0]}, {own}"

    @property
    def configuration(self) -> dict[str, Any]:
        """The settings that decide the runs, apart from the seed."""
        return _configuration_of(self.first)

    @property
    def preset(self) -> str | None:
        """Name of the preset that has these settings, whatever the number of epochs; None if none has."""
        for name in PRESETS:
            wanted = self.row.run_config(name, self.data, self.first.seed, self.epochs)
            if _deciding(asdict(wanted.training), wanted.settings, self.row.model) == self.configuration:
                return name
        return None

    def differences(self) -> list[str]:
        """Differences from the paper's settings; empty if there are none."""
        paper = self.row.run_config("paper", self.row.data, 0, self.row.most_epochs("paper") or self.epochs)
        there = {
            "data": paper.data,
            **{key: value for key, value in asdict(paper.training).items() if key not in _UNCOMPARED},
            **paper.settings,
        }
        own = known_settings(self.row.model)
        defaults = {key: own[key] for key in paper.settings}
        here = {"data": self.data, **defaults, **self.configuration, "epochs": self.epochs}
        keys = [*there, *(key for key in here if key not in there)]
        return [_difference(key, there.get(key), here.get(key)) for key in keys if there.get(key) != here.get(key)]


def model_size(row: PaperRow, settings: Mapping[str, Any]) -> str:
    """Size of a row's model in words: "2 × 4 steps, width 32" for a Glow, the layers of its title for the others.

    Args:
        row: Row of the tables.
        settings: Arguments of its builder; those not given are the builder's own.
    """
    whole = {**known_settings(row.model), **settings}
    if "steps" not in whole:
        return row.title.rpartition(", ")[2]
    return f"{whole['scales']} × {whole['steps']} steps, width {whole['width']}"


def _difference(key: str, there: Any, here: Any) -> str:
    words = key.replace("_", " ")
    if isinstance(here, bool) and not there:
        return words if here else f"no {words}"
    if here is None:
        return f"{words} the builder's own, not {there}"
    return f"{words} {here}" if there is None else f"{words} {here}, not {there}"


def _configuration_of(record: TrainingRecord) -> dict[str, Any]:
    return _deciding(completed(record.history["settings"]), record.model["settings"], record.model["name"])


def _deciding(training: Mapping[str, Any], settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The settings that decide a run; of its model's those that are not the defaults."""
    decided = {key: value for key, value in training.items() if key not in _UNCOMPARED}
    own = known_settings(model)
    return {**decided, **{key: value for key, value in settings.items() if own[key] != value}}


def read_all(folder: Path) -> dict[str, TrainingRecord]:
    """The records of the training runs in a folder, by the name of the run; raises as ``read_record``."""
    return {path.parent.name: read_record(path) for path in sorted(folder.glob("*/record.json"))}


def grouped(records: dict[str, TrainingRecord]) -> list[Group]:
    """The runs that belong to a row, grouped by settings, in the order of the tables; rows beyond the paper last."""
    found: dict[str, Group] = {}
    for name, record in records.items():
        row = row_of(record.model["name"], record.data["train"]["name"])
        if row is not None:
            settings = sorted(_configuration_of(record).items(), key=lambda item: item[0])
            key = f"{row.name} {record.data['train']['name']} {settings} {record.diverged}"
            while key in found and record.seed in found[key].values:
                key += ", again"  # one value per seed: a second run of a seed has its own group
            found.setdefault(key, Group(row, {})).records[name] = record
    order = list(ALL_ROWS)
    return sorted(found.values(), key=lambda group: (order.index(group.row.name), group.epochs))


@dataclass(frozen=True)
class Parity:
    """A model trained without determinants beside its exact twin at equal settings.

    Attributes:
        learned, exact: Their groups.
        gaps: Test NLL of the learned one minus that of the exact one, nats, by seed; above 0 the exact one is better.
    """

    learned: Group
    exact: Group
    gaps: dict[int, float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.gaps.values())

    @property
    def standard_error(self) -> float | None:
        """Standard error of ``mean`` over the seeds; None for a single seed."""
        return paired_error(list(self.gaps.values()))

    @property
    def own_settings(self) -> dict[str, Any]:
        """Settings of the learned model that the exact one does not have, apart from those at their defaults."""
        shared = self.exact.configuration.keys()
        return {key: value for key, value in self.learned.configuration.items() if key not in shared}

    @property
    def is_as_in_paper(self) -> bool:
        """Whether the settings that only the learned model has, such as λ, are those of its row in the tables."""
        known, paper = known_settings(self.learned.row.model), self.learned.row.settings
        own = known.keys() - known_settings(self.exact.row.model).keys()
        return all(self.learned.configuration.get(key, known[key]) == paper.get(key, known[key]) for key in own)

    def values(self, group: Group) -> list[float]:
        """Test NLL of one of the two groups, nats, for the seeds that both have."""
        return [group.nats[seed] for seed in self.gaps]


def paired_error(gaps: Sequence[float]) -> float | None:
    """Standard error of the mean of paired differences (eq-paired-error); None for a single one.

    Args:
        gaps: Difference of two models for each seed that both were trained with.

    Example:
        >>> from snf_lite.experiments.results import paired_error
        >>> paired_error([1.0, 4.0, 7.0])
        1.7320508075688774
    """
    return None if len(gaps) < 2 else statistics.stdev(gaps) / math.sqrt(len(gaps))


@dataclass(frozen=True)
class Comparison:
    """A model beyond the paper, and the paper's self-normalizing model, each beside the same exact twin.

    Attributes:
        beyond: Model beyond the paper beside its exact twin.
        paper: Self-normalizing model, with the paper's λ, beside the same exact runs; None if it was not run.
    """

    beyond: Parity
    paper: Parity | None


def parities(groups: list[Group], twins: Mapping[str, str] = TWINS) -> list[Parity]:
    """The pairs of twins that were run at equal settings, with their gaps over the common seeds (eq-parity).

    A run that diverged has no gap.

    Args:
        groups: Result of ``grouped``.
        twins: Exact model by the name of the model that is held against it: ``TWINS`` of the paper, or
            ``BEYOND_TWINS``.
    """
    found, trained = [], [group for group in groups if not group.diverged]
    for learned in trained:
        for exact in trained:
            seeds = learned.nats.keys() & exact.nats.keys()
            if twins.get(learned.row.model) == exact.row.model and _are_alike(learned, exact) and seeds:
                gaps = {seed: learned.nats[seed] - exact.nats[seed] for seed in sorted(seeds)}
                found.append(Parity(learned, exact, gaps))
    return found


def comparisons(groups: list[Group]) -> list[Comparison]:
    """The models beyond the paper that were run beside an exact twin, each with the paper's way where that was run.

    Example:
        >>> from snf_lite.experiments import archive, results
        >>> groups = results.grouped(results.read_all(archive.records_root()))
        >>> for found in results.comparisons(groups):
        ...     differences = [pair.mean for pair in (found.beyond, found.paper) if pair]
    """
    usual = {id(pair.exact): pair for pair in parities(groups) if pair.is_as_in_paper}
    return [Comparison(pair, usual.get(id(pair.exact))) for pair in parities(groups, BEYOND_TWINS)]


def _are_alike(learned: Group, exact: Group) -> bool:
    """Whether two groups have the same data and settings, apart from settings that the exact model does not have."""
    if (learned.data, learned.row.family) != (exact.data, exact.row.family):
        return False
    own = known_settings(learned.row.model).keys() - known_settings(exact.row.model).keys()
    return {key: value for key, value in learned.configuration.items() if key not in own} == exact.configuration


def problems(record: TrainingRecord, name: str) -> list[str]:
    """Contradictions within a record, with the name of its run; empty if there are none."""
    return [f"{name}: {problem}" for problem in record.problems()]
