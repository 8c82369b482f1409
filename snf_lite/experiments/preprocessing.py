"""The contribution of image preprocessing to the log-likelihood, measured over a data set.

Repeat it with ``python -m snf_lite preprocessing --data mnist``.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

import torch
from torch import Tensor

from snf_lite.analysis.pixel_likelihood import level_counts, level_log_dets
from snf_lite.data.datasets import load
from snf_lite.data.registry import SPLITS
from snf_lite.data.source import as_source
from snf_lite.layers.preprocessing import Dequantize, Logit
from snf_lite.runtime import provenance, records
from snf_lite.runtime.rng import isolated_rng

FILE = "preprocessing.json"
#: Images per batch.
_BATCH = 1000
#: Largest distance of the measured sum from that of the level counts, in standard errors of the noise.
_NOISE = 5.0


_SplitResult = TypedDict(  # noqa: UP013
    "_SplitResult",
    {"dequantise": float, "logit": float, "total": float, "noise_error": float, "counts": list[int]},
)


class _Results(TypedDict):
    train: _SplitResult
    validation: _SplitResult
    test: _SplitResult


@dataclass(frozen=True, kw_only=True)
class PixelRecord(records.Record):
    """The contribution of uniform noise, scaling by the levels and logit to log p of an image, in nats.

    Attributes:
        seed: Seed of the noise.
        levels, features, alpha: L, D, and the α of the logit.
        data: Name, count and SHA-256 by split.
        results: By split the mean log-determinants ``dequantise`` and ``logit`` of an image and their sum ``total``;
            ``noise_error``, the standard error of the sum due to the noise; and ``counts``, the frequency of each
            level, from which ``level_log_dets`` gives the same sum without noise.
    """

    kind: ClassVar[str] = "preprocessing"
    json_depth: ClassVar[int] = 3

    seed: int
    levels: int
    features: int
    alpha: float
    data: Annotated[dict[str, Any], records.SplitEntries]
    results: Annotated[dict[str, Any], _Results]

    def problems(self) -> list[str]:
        return [f"{split}: {problem}" for split in self.results for problem in _split_problems(self, split)]


def measure(data: str, alpha: float = 1e-6, seed: int = 0, device: torch.device | None = None) -> PixelRecord:
    """Pass every image of a data set through ``Dequantize`` and ``Logit``, in float64, with one noise per image.

    The device is the CPU by default.
    """
    started, splits = time.perf_counter(), {split: load(data, split) for split in SPLITS}
    device = device or torch.device("cpu")
    levels = splits["train"].levels
    assert levels is not None  # image sets have them
    return PixelRecord(
        command=f"python -m snf_lite preprocessing --data {data} --alpha {alpha:g} --seed {seed}",
        seed=seed,
        levels=levels,
        features=math.prod(splits["train"].shape[1:]),
        alpha=alpha,
        data={split: as_source(data, split).identity() for split in SPLITS},
        results={split: _measured(pixels, levels, alpha, (seed, split), device) for split, pixels in splits.items()},
        **provenance.provenance(device),
        seconds=time.perf_counter() - started,
    )


def _measured(
    pixels: Tensor, levels: int, alpha: float, key: tuple[int | str, ...], device: torch.device
) -> dict[str, Any]:
    scale, logit = Dequantize(levels).double().to(device), Logit(alpha).double().to(device)
    table, found = level_log_dets(levels, alpha).to(device), []
    with isolated_rng(device, *key, "preprocessing"):
        for batch in (part.to(device) for part in pixels.split(_BATCH)):
            spread, scaled = scale(batch)
            without_noise = table[batch.long()].flatten(1).sum(1)
            found.append(torch.stack([scaled, logit(spread)[1], without_noise]))
    scaling, bent, expected = torch.cat(found, 1)
    noise = (scaling + bent - expected).std() / len(pixels) ** 0.5
    return {
        "dequantise": float(scaling.mean()),
        "logit": float(bent.mean()),
        "total": float((scaling + bent).mean()),
        "noise_error": float(noise),
        "counts": level_counts(pixels, levels).tolist(),
    }


def expected_total(record: PixelRecord, split: str) -> float:
    """Mean log-determinant of the preprocessing of an image, in nats, from the level counts, without noise."""
    counts = torch.tensor(record.results[split]["counts"], dtype=torch.float64)
    table = level_log_dets(record.levels, record.alpha)
    return float(counts @ table / counts.sum() * record.features)


def read(path: str | Path) -> PixelRecord:
    """The record in a file; raises as ``records.read_record``."""
    return records.read_record(path, PixelRecord)


def _split_problems(record: PixelRecord, split: str) -> list[str]:
    found, count = record.results[split], record.data[split]["count"]
    if not (2 <= len(found["counts"]) == record.levels and min(found["counts"]) >= 0 < sum(found["counts"])):
        return [f"it has {len(found['counts'])} level counts for {record.levels} levels, negative ones, or zeros alone"]
    scaled, total = -record.features * math.log(record.levels), found["dequantise"] + found["logit"]
    checks = {
        "its log-determinant of the scaling is not -D log L": math.isclose(found["dequantise"], scaled, rel_tol=1e-9),
        "its log-determinants do not add up": math.isclose(found["total"], total, abs_tol=1e-6),
        "its level counts do not match the number of images": sum(found["counts"]) == count * record.features,
        "its total does not match its level counts":
            abs(found["total"] - expected_total(record, split)) <= _NOISE * found["noise_error"],
    }  # fmt: skip
    return [problem for problem, fine in checks.items() if not fine]
