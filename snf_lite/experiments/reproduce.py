"""``python -m snf_lite reproduce``: the rows of the paper's tables, fitted into the time there is, twins alike."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from snf_lite.data.datasets import load
from snf_lite.experiments.paper_tables import ROWS, rows_for
from snf_lite.experiments.run import RunConfig, run
from snf_lite.models import known_settings
from snf_lite.runtime import distributed, files
from snf_lite.runtime.checks import NotInvertibleError
from snf_lite.runtime.devices import choose_device, synchronize
from snf_lite.training.evaluation import EVALUATION_BATCH
from snf_lite.training.step import StepOptions, TrainingStep

#: Steps of which the median says how long one takes.
TIMED_STEPS = 5
#: The part of the time that goes into epochs; the rest is for tests, samples and what machines do besides.
TIME_FRACTION = 0.9


@dataclass(frozen=True)
class ReproduceConfig:
    """What the user asked for; what decides the plan.

    Attributes:
        rows: names out of ``ROWS``; empty: those that belong to the data.
        data: a data set of images.
        preset: out of ``rows.PRESETS``.
        minutes: for all rows and seeds together. epochs: for every row, instead.
        seed, repeats: each row is run with the seeds seed, seed + 1, …
        settings: of the builders, for every row that knows them.
    """

    rows: tuple[str, ...]
    data: str
    preset: str
    minutes: float
    epochs: int | None
    seed: int
    repeats: int
    settings: dict[str, Any]

    @property
    def chosen(self) -> list[str]:
        return list(self.rows or rows_for(self.data))

    def recipe(self, row: str, epochs: int, seed: int | None = None) -> RunConfig:
        """How a row is run under this wish."""
        known = {key: value for key, value in self.settings.items() if _knows(row, key)}
        return ROWS[row].recipe(self.preset, self.data, self.seed if seed is None else seed, epochs, **known)

    def described(self) -> dict[str, Any]:
        """The wish as a plan on disk keeps it, its lists as JSON has them."""
        described: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return described


def _knows(row: str, setting: str) -> bool:
    return setting in known_settings(ROWS[row].model)


def reproduce(
    wish: ReproduceConfig, out: Path, name: str, device: str | None, restart: bool, say: Callable[[str], None]
) -> None:
    """Make the plan, or take up the one in ``out/name``, and run it; what is done already is not done again.

    Args:
        wish: what was asked for.
        out: the folder of the runs; each row and seed gets its own in it.
        name: of the plan's folder.
        device: as for ``fit``.
        restart: plan anew and throw away the runs of the old plan.
        say: told a line at a time.

    Raises:
        ValueError: a wish that cannot be met, or that differs from the one the plan was made for.
        FloatingPointError: some run left the finite; raised after the others are done.
    """
    _require_possible(wish)
    path = out / name / "plan.json"
    kept = distributed.on_main_process(lambda: read_plan(path, wish) if path.exists() and not restart else None)
    plan = kept or make_plan(wish, choose_device(device), say)
    jobs = [(row, wish.seed + k) for k in range(wish.repeats) for row in wish.chosen]
    if restart:  # all of them now: an interrupted restart goes on without throwing away what it has done
        distributed.on_main_process(lambda: _throw_away([out / run_name(wish, *job) for job in jobs]))
    distributed.on_main_process(lambda: files.write_json(plan, path, depth=3))
    say(f"{path}: {len(jobs)} runs, {_minutes(plan)}")
    failed = []
    for number, (row, seed) in enumerate(jobs, start=1):
        recipe = wish.recipe(row, plan["rows"][row]["epochs"], seed)
        say(f"\n{number} of {len(jobs)}: {row}, {recipe.epochs} epochs, seed {seed}")
        try:
            say(str(run(recipe, recipe.fresh_flow(), out / run_name(wish, row, seed), device)))
        except (FloatingPointError, NotInvertibleError) as error:  # a run that left the finite; the others go on
            say(f"failed: {error}")
            failed.append(f"{row} with seed {seed}")
    if failed:
        raise FloatingPointError(f"reproduce: {len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}.")


def run_name(wish: ReproduceConfig, row: str, seed: int) -> str:
    """The folder of one run."""
    return f"{wish.preset}-{ROWS[row].model}-{wish.data}-seed{seed}"


def _throw_away(folders: Sequence[Path]) -> None:
    for folder in folders:
        for name in ("checkpoint.pt", "record.json"):
            (folder / name).unlink(missing_ok=True)


def _require_possible(wish: ReproduceConfig) -> None:
    for row in wish.chosen:
        if row not in ROWS:
            raise ValueError(f"reproduce: expected rows out of {', '.join(ROWS)}, got {row!r}.")
    for row, other in combinations(wish.chosen, 2):
        if ROWS[row].model == ROWS[other].model:
            raise ValueError(f"reproduce: {row} and {other} would share a folder: run each with its own --out.")
    for key in wish.settings:
        if not any(_knows(row, key) for row in wish.chosen):
            raise ValueError(f"reproduce: none of {', '.join(wish.chosen)} has a setting {key!r}.")


# ---- the plan --------------------------------------------------------------------------------------------------------


def make_plan(wish: ReproduceConfig, device: torch.device, say: Callable[[str], None]) -> dict[str, Any]:
    """Epochs for each row: as asked, or as many as fit into the minutes by a short timing of each row."""
    rows: dict[str, dict[str, Any]] = {}
    for row in wish.chosen:
        seconds = seconds_per_epoch(wish.recipe(row, 1), device)
        say(f"{row}: about {seconds:.3g} s an epoch")
        rows[row] = {"family": ROWS[row].family, "seconds_per_epoch": seconds}
    given = wish.epochs or 0
    epochs = (
        {} if given else epochs_that_fit(rows, _most_epochs(wish), 60 * TIME_FRACTION * wish.minutes / wish.repeats)
    )
    for entry in rows.values():
        entry["epochs"] = given or epochs[entry["family"]]
    return {"wish": wish.described(), "device": str(device), "rows": rows}


def _most_epochs(wish: ReproduceConfig) -> dict[str, float]:
    """By family how many epochs are worth having."""
    return {ROWS[row].family: ROWS[row].most_epochs(wish.preset) or float("inf") for row in wish.chosen}


def epochs_that_fit(rows: dict[str, dict[str, Any]], most: dict[str, float], seconds: float) -> dict[str, int]:
    """By family the epochs that each of its rows gets: equal time for each family, and what one leaves for the others.

    Args:
        rows: by name ``family`` and ``seconds_per_epoch``.
        most: by family, beyond which no more are given.
        seconds: for all rows together, one seed.

    At least one epoch each, also where that takes longer.
    """
    cost = dict.fromkeys(most, 0.0)
    for row in rows.values():
        cost[row["family"]] += row["seconds_per_epoch"]
    epochs: dict[str, int] = {}
    for left, family in zip(range(len(cost), 0, -1), sorted(cost, key=lambda f: cost[f] * most[f]), strict=True):
        epochs[family] = max(1, int(min(most[family], seconds / left / cost[family])))
        seconds -= epochs[family] * cost[family]
    return epochs


def seconds_per_epoch(recipe: RunConfig, device: torch.device) -> float:
    """About how long an epoch of a run takes, its validation included; from a few steps on a flow of its own.

    Several processes take those steps together, and believe the clock of the one that writes.
    """
    flow = recipe.fresh_flow().to(device)
    training, validation = (load(recipe.data, split) for split in ("train", "validation"))
    mine, weight = distributed.shard(torch.arange(min(recipe.batch_size, len(training))))
    batch = torch.Tensor.as_subclass(training[mine], torch.Tensor).to(device)
    judged = torch.Tensor.as_subclass(validation[:EVALUATION_BATCH], torch.Tensor).to(device)
    step = TrainingStep(flow, recipe.lr, len(batch), recipe.clip, StepOptions(precision=recipe.precision))
    step.join()
    times = sorted(_seconds(lambda: step(batch, 0.0, weight), device) for _ in range(1 + TIMED_STEPS))
    with torch.no_grad():
        judging = _seconds(lambda: flow.log_prob(judged), device) / len(judged)
    seconds = times[len(times) // 2] * -(-len(training) // recipe.batch_size) + judging * len(validation)
    return distributed.on_main_process(lambda: seconds)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def read_plan(path: Path, wish: ReproduceConfig) -> dict[str, Any]:
    """The plan that was made for this wish; ValueError for another one's."""
    plan: dict[str, Any] = files.read_json(path, "plan")
    there, here = plan["wish"], wish.described()
    differing = [f"{key} {there.get(key)!r}, not {here[key]!r}" for key in here if there.get(key) != here[key]]
    if differing:
        raise ValueError(f"{path}: was made for {'; '.join(differing)}. Give another --out, or --restart.")
    return plan


def _minutes(plan: dict[str, Any]) -> str:
    """How long the plan takes by its own timings."""
    seconds = sum(row["epochs"] * row["seconds_per_epoch"] for row in plan["rows"].values())
    wished, repeats = plan["wish"]["minutes"], plan["wish"]["repeats"]
    found = seconds * repeats / 60
    late = f", more than the {wished:g} asked for" if found > wished and plan["wish"]["epochs"] is None else ""
    return f"about {found:.3g} minutes{late}"


def default_minutes(data: str) -> float:
    """Five for the digits, which are small; an hour elsewhere."""
    return 5.0 if data == "digits" else 60.0


def plan_name(preset: str, data: str, rows: Sequence[str]) -> str:
    """What a plan's folder is called unless it is told."""
    return "-".join(["reproduce", preset, data, *rows])
