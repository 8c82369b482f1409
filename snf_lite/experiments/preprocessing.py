"""What the preprocessing of pictures adds to a log-likelihood, measured over a data set: a record of its own kind.

``python -m snf_lite.experiments.preprocessing --data mnist`` makes it again.
"""

import argparse
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snf_lite.analysis.pixel_likelihood import level_counts, level_log_dets
from snf_lite.data.datasets import image_set_names, load
from snf_lite.data.registry import SPLITS
from snf_lite.data.source import as_source
from snf_lite.layers.preprocessing import Dequantize, Logit
from snf_lite.runtime import files, provenance
from snf_lite.runtime.rng import isolated_rng

FORMAT, FILE = 1, "preprocessing.json"
#: Pictures at a time.
_BATCH = 1000
#: So many standard errors of the noise may lie between what was measured and what the levels say.
_NOISE = 5.0


@dataclass(frozen=True)
class PixelRecord:
    """What uniform noise, the scaling by the levels and the logit add to log p of a picture, in nats.

    Attributes:
        command: the command line that makes it again.
        seed: of the noise.
        levels, features, alpha: L, D, and the logit's α.
        data: for each split its name, count and SHA-256.
        results: for each split the mean log-determinants ``dequantise`` and ``logit`` of a picture and their sum,
            ``total``; ``noise_error``, the standard error that the noise leaves in the sum; and ``counts``, how often
            each level occurs, from which ``level_log_dets`` gives the same sum without noise.
        package, libraries, device, threads, date, seconds: as in ``runs.Record``.
    """

    command: str
    seed: int
    levels: int
    features: int
    alpha: float
    data: dict[str, Any]
    results: dict[str, Any]
    package: dict[str, Any]
    libraries: dict[str, str]
    device: str
    threads: int
    date: str
    seconds: float


def measure(data: str, alpha: float = 1e-6, seed: int = 0) -> PixelRecord:
    """Send every picture of a data set through ``Dequantize`` and ``Logit``, in float64, one noise a picture."""
    started, splits = time.perf_counter(), {split: load(data, split) for split in SPLITS}
    levels = splits["train"].levels
    assert levels is not None  # image sets have them
    return PixelRecord(
        command=f"python -m snf_lite.experiments.preprocessing --data {data} --alpha {alpha:g} --seed {seed}",
        seed=seed,
        levels=levels,
        features=math.prod(splits["train"].shape[1:]),
        alpha=alpha,
        data={split: as_source(data, split).identity() for split in SPLITS},
        results={split: _measured(pixels, levels, alpha, (seed, split)) for split, pixels in splits.items()},
        **provenance.provenance(torch.device("cpu")),
        seconds=time.perf_counter() - started,
    )


def _measured(pixels: Tensor, levels: int, alpha: float, key: tuple[int | str, ...]) -> dict[str, Any]:
    scale, logit = Dequantize(levels).double(), Logit(alpha).double()
    table, found = level_log_dets(levels, alpha), []
    with isolated_rng("cpu", *key, "preprocessing"):
        for batch in pixels.split(_BATCH):
            spread, scaled = scale(batch)
            without_noise = table[batch.long()].flatten(1).sum(1)
            found.append(torch.stack([scaled, logit(spread)[1], without_noise]))
    dequantise, bent, expected = torch.cat(found, 1)
    noise = (dequantise + bent - expected).std() / len(pixels) ** 0.5
    return {
        "dequantise": float(dequantise.mean()),
        "logit": float(bent.mean()),
        "total": float((dequantise + bent).mean()),
        "noise_error": float(noise),
        "counts": level_counts(pixels, levels).tolist(),
    }


def expected_total(record: PixelRecord, split: str) -> float:
    """The mean log-determinant of a picture's preprocessing, nats, by the counts of its levels instead of noise."""
    counts = torch.tensor(record.results[split]["counts"], dtype=torch.float64)
    table = level_log_dets(record.levels, record.alpha)
    return float(counts @ table / counts.sum() * record.features)


def write(record: PixelRecord, path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; OSError as ``atomic_write``."""
    files.write_json({"format": FORMAT, **asdict(record)}, path, depth=3)


def read(path: str | Path) -> PixelRecord:
    """The record in a file, for the book.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no such record, or one that contradicts itself; the message names the file and what is wrong.
    """
    record = files.read_entries(path, PixelRecord, "record of a preprocessing", FORMAT)
    wrong = [f"{split}: {problem}" for split in record.results for problem in _problems(record, split)]
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}.")
    return record


def _problems(record: PixelRecord, split: str) -> list[str]:
    """What in a split's entry contradicts itself."""
    found, count = record.results[split], record.data[split]["count"]
    scaled, total = -record.features * math.log(record.levels), found["dequantise"] + found["logit"]
    checks = {
        "its log-determinant of the scaling is not -D log L": math.isclose(found["dequantise"], scaled, rel_tol=1e-9),
        "its log-determinants do not add up": math.isclose(found["total"], total, abs_tol=1e-6),
        "its levels are not those of so many pictures": sum(found["counts"]) == count * record.features,
        "its total is not what its levels say":
            abs(found["total"] - expected_total(record, split)) <= _NOISE * found["noise_error"],
    }  # fmt: skip
    return [problem for problem, fine in checks.items() if not fine]


def main(arguments: list[str] | None = None) -> None:
    """The command; the record goes to the folder ``preprocessing-DATA``."""
    parser = argparse.ArgumentParser(prog="python -m snf_lite.experiments.preprocessing", description=measure.__doc__)
    parser.add_argument("--data", default="digits", choices=image_set_names(), metavar="NAME", help="an image set")
    parser.add_argument("--alpha", type=float, default=1e-6, help="of the logit")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--out", type=Path, default=Path("data/runs"), help="folder of the runs")
    args = parser.parse_args(arguments)
    record, path = measure(args.data, args.alpha, args.seed), args.out / f"preprocessing-{args.data}" / FILE
    write(record, path)
    print(f"{path}: {record.results['test']['total']:.2f} nats a test picture")


if __name__ == "__main__":
    main()
