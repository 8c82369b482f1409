"""``python -m snf_lite reproduce``: rows of the paper's tables and beyond within a time budget, equal for a pair."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

import torch

from snf_lite.data.datasets import load
from snf_lite.experiments.paper_tables import ALL_ROWS, rows_for
from snf_lite.experiments.run import RunConfig, run
from snf_lite.models import known_settings
from snf_lite.runtime import checks, files
from snf_lite.runtime.devices import synchronize
from snf_lite.runtime.distributed import Process
from snf_lite.runtime.schema import mismatches
from snf_lite.training.adam import adam
from snf_lite.training.data_parallel import DataParallelStep
from snf_lite.training.evaluation import EVALUATION_BATCH
from snf_lite.training.step import take_step

#: Number of timed steps, of which the median counts.
TIMED_STEPS = 5
#: Fraction of the time for epochs; the rest is for tests, samples and other work of the machine.
TIME_FRACTION = 0.9


class _PlanRow(TypedDict):
    family: str
    seconds_per_epoch: float
    epochs: int


_Plan = TypedDict("_Plan", {"wish": dict[str, Any], "device": str, "rows": dict[str, _PlanRow]})  # noqa: UP013


@dataclass(frozen=True)
class ReproduceConfig:
    """What to reproduce; it decides the plan.

    Attributes:
        rows: Names in ``ALL_ROWS``; empty: those that belong to the data.
        data: Name of a data set of images.
        preset: Name in ``paper_tables.PRESETS``.
        minutes: Time budget of all rows and seeds together.
        epochs: Number of epochs of every row, instead of a time budget.
        seed, repeats: Each row is run with the seeds seed, seed + 1, …, seed + repeats - 1.
        settings: Arguments of the builders, for every row whose model has them.
    """

    rows: tuple[str, ...]
    data: str
    preset: str
    minutes: float
    epochs: int | None
    seed: int
    repeats: int
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        checks.number_between(self.minutes, 0, math.inf, "minutes", "reproduce")
        checks.positive_integer(self.repeats, "repeats", "reproduce")
        if self.epochs is not None:
            checks.positive_integer(self.epochs, "epochs", "reproduce")

    @property
    def chosen(self) -> list[str]:
        return list(self.rows or rows_for(self.data))

    def run_config(self, row: str, epochs: int, seed: int | None = None) -> RunConfig:
        """The configuration of a run of a row."""
        known = {key: value for key, value in self.settings.items() if _knows(row, key)}
        return ALL_ROWS[row].run_config(self.preset, self.data, self.seed if seed is None else seed, epochs, **known)

    def described(self) -> dict[str, Any]:
        """The configuration as a plan on disk holds it, its lists as in JSON."""
        described: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return described


def _knows(row: str, setting: str) -> bool:
    return setting in known_settings(ALL_ROWS[row].model)


def reproduce(
    config: ReproduceConfig, out: Path, name: str, process: Process, overwrite: bool, show: Callable[[str], None],
    progress: bool | None = None,
) -> None:  # fmt: skip
    """Make the plan, or read the one in ``out/name``, and run what is not finished yet.

    Args:
        config: What to reproduce.
        out: Folder of the runs; each row and seed has its own in it.
        name: Name of the plan's folder.
        process: This process, with the device to train on.
        overwrite: Whether to make a new plan and to remove the runs of the old one.
        show: Function that is called with each line of the report.
        progress: Argument of ``fit``.

    Raises:
        ValueError: a configuration that cannot be run.
        FileExistsError: the plan was made for another configuration.
        FloatingPointError: some run diverged; raised after the others are finished.
    """
    _require_possible(config)
    path = out / name / "plan.json"
    kept = process.on_main(lambda: read_plan(path, config) if path.exists() and not overwrite else None)
    plan = kept or make_plan(config, process, show)
    jobs = [(row, config.seed + k) for k in range(config.repeats) for row in config.chosen]

    def start_plan() -> None:
        if overwrite:  # all runs now: an interrupted command resumes without --overwrite and keeps what is finished
            for job in jobs:
                for file in ("checkpoint.pt", "record.json"):
                    (out / run_name(config, *job) / file).unlink(missing_ok=True)
        files.write_json(plan, path, depth=3)

    process.on_main(start_plan)
    show(f"{path}: {len(jobs)} runs, {_planned(plan)}")
    failed, parts = [], process.local_main_first(config.run_config(config.chosen[0], 1).parts)
    for number, (row, seed) in enumerate(jobs, start=1):
        own = config.run_config(row, plan["rows"][row]["epochs"], seed)
        show(f"\n{number} of {len(jobs)}: {row}, {own.training.epochs} epochs, seed {seed}")
        flow = own.fresh_flow(parts.train)
        try:
            show(str(run(own, flow, parts, out / run_name(config, row, seed), process, False, progress)))
        except (FloatingPointError, checks.NotInvertibleError) as error:  # diverged; the others continue
            show(f"failed: {error}")
            failed.append(f"{row} with seed {seed}")
    if failed:
        raise FloatingPointError(f"reproduce: {len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}.")


def run_name(config: ReproduceConfig, row: str, seed: int) -> str:
    """The name of a run's folder."""
    return f"{config.preset}-{ALL_ROWS[row].model}-{config.data}-seed{seed}"


def _require_possible(config: ReproduceConfig) -> None:
    for row in config.chosen:
        if row not in ALL_ROWS:
            raise ValueError(f"reproduce: expected rows out of {', '.join(ALL_ROWS)}, got {row!r}.")
    for row, other in combinations(config.chosen, 2):
        if ALL_ROWS[row].model == ALL_ROWS[other].model:
            raise ValueError(f"reproduce: {row} and {other} would share a folder: run each with its own --out.")
    for key in config.settings:
        if not any(_knows(row, key) for row in config.chosen):
            raise ValueError(f"reproduce: none of {', '.join(config.chosen)} has a setting {key!r}.")


# ---- the plan --------------------------------------------------------------------------------------------------------


def make_plan(config: ReproduceConfig, process: Process, show: Callable[[str], None]) -> dict[str, Any]:
    """Epochs for each row: as asked, or as many as fit into the minutes by a short timing of each row."""
    rows: dict[str, dict[str, Any]] = {}
    for row in config.chosen:
        seconds = seconds_per_epoch(config.run_config(row, 1), process)
        show(f"{row}: about {seconds:.3g} s an epoch")
        rows[row] = {"family": ALL_ROWS[row].family, "seconds_per_epoch": seconds}
    most = {ALL_ROWS[row].family: ALL_ROWS[row].most_epochs(config.preset) or math.inf for row in config.chosen}
    given = config.epochs or 0
    budget = 60 * TIME_FRACTION * config.minutes / config.repeats
    epochs = {} if given else epochs_that_fit(rows, most, budget)
    for entry in rows.values():
        entry["epochs"] = given or epochs[entry["family"]]
    return {"wish": config.described(), "device": str(process.device), "rows": rows}


def epochs_that_fit(rows: dict[str, dict[str, Any]], most: dict[str, float], seconds: float) -> dict[str, int]:
    """Epochs of each family: families share the time equally, and what one does not need goes to the others.

    Each family gets at least one epoch, also where that takes longer.

    Args:
        rows: By name of a row, ``family`` and ``seconds_per_epoch``.
        most: Maximum number of epochs of each family.
        seconds: Time for all rows together, for one seed.
    """
    cost = dict.fromkeys(most, 0.0)
    for row in rows.values():
        cost[row["family"]] += row["seconds_per_epoch"]
    epochs: dict[str, int] = {}
    for left, family in zip(range(len(cost), 0, -1), sorted(cost, key=lambda f: cost[f] * most[f]), strict=True):
        epochs[family] = max(1, int(min(most[family], seconds / left / cost[family])))
        seconds -= epochs[family] * cost[family]
    return epochs


def seconds_per_epoch(config: RunConfig, process: Process) -> float:
    """Approximate duration of an epoch with its validation, from a few steps of a fresh flow.

    Several processes run the steps in parallel; the main process's clock decides.
    """
    training = process.local_main_first(lambda: load(config.data, "train"))
    validation = load(config.data, "validation")
    flow, device = config.fresh_flow(training).to(process.device), process.device
    share, weight = process.shard(torch.arange(min(config.training.batch_size, len(training))))
    batch = torch.Tensor.as_subclass(training[share], torch.Tensor).to(device)
    judged = torch.Tensor.as_subclass(validation[:EVALUATION_BATCH], torch.Tensor).to(device)
    optimizer, parallel = adam([w for w in flow.parameters() if w.requires_grad], 0.0), None
    if process.world_size > 1:
        parallel = DataParallelStep(flow, process)
        parallel.weight = weight

    def step() -> None:
        take_step(flow, batch, optimizer, 0.0, config.training, flow.loss, parallel)

    times = sorted(_seconds(step, device) for _ in range(1 + TIMED_STEPS))
    with torch.no_grad():
        judging = _seconds(lambda: flow.log_prob(judged), device) / len(judged)
    seconds = times[len(times) // 2] * -(-len(training) // config.training.batch_size) + judging * len(validation)
    return process.on_main(lambda: seconds)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def read_plan(path: Path, config: ReproduceConfig) -> dict[str, Any]:
    """The plan in a file; ValueError if it is none, FileExistsError if it was made for another configuration."""
    plan: dict[str, Any] = files.read_json(path, "plan")
    if wrong := list(mismatches(plan, _Plan, "the plan")):
        raise ValueError(f"{path}: {'; '.join(wrong[:5])}.")
    there, here = plan["wish"], config.described()
    differing = [f"{key} {there.get(key)!r}, not {here[key]!r}" for key in here if there.get(key) != here[key]]
    if differing:
        fixed = "; a plan keeps its minutes, which decided its epochs and so its learning rates"
        why = f"{fixed if there.get('minutes') != here['minutes'] else ''}. Give the same again to resume it"
        raise FileExistsError(f"{path}: was made for {'; '.join(differing)}{why}, another --out, or --overwrite.")
    if list(plan["rows"]) != config.chosen:
        raise ValueError(f"{path}: expected the rows {', '.join(config.chosen)}, got {', '.join(plan['rows'])}.")
    return plan


def _planned(plan: dict[str, Any]) -> str:
    """The duration of a plan by its own timings, in words."""
    asked = plan["wish"]
    seconds = asked["repeats"] * sum(row["epochs"] * row["seconds_per_epoch"] for row in plan["rows"].values())
    late = seconds > 60 * asked["minutes"] and asked["epochs"] is None
    return f"about {duration(seconds)}" + (f", more than the {asked['minutes']:g} minutes asked for" if late else "")


def duration(seconds: float) -> str:
    """A duration in the unit that a reader would choose: 4 s, 2.5 minutes, 7 hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.2g} minutes" if seconds < 5400 else f"{seconds / 3600:.2g} hours"


def default_minutes(data: str) -> float:
    """The default time budget: 5 minutes for the digits, an hour for other data."""
    return 5.0 if data == "digits" else 60.0


def plan_name(preset: str, data: str, rows: Sequence[str]) -> str:
    """The default name of a plan's folder."""
    return "-".join(["reproduce", preset, data, *rows])
