"""The rule that adapts λ to a tolerance (eq-geco), tried in real trainings beside fixed λ, and its stored record.

Run it, in about four minutes of one thread, with ``PYTHONPATH=book/_tools python -m reference.lambda_trial``.
The record is ``book/_data/lambda-trial.json``; the page ``choosing-lambda.md`` shows it.

The flow is the dense model on the small digits, from the whitened start, with batches of 20: λ moves by at most a
thousandth in a step, so that it needs many steps to show what it does.
"""

import json
import time
from typing import Any

import torch
from paths import ROOT, write

import snf_lite as snf
from snf_lite.analysis.learned_inverse import gradient_angles, inverse_errors, learned_layers
from snf_lite.analysis.sampling import sample_pair
from snf_lite.runtime.provenance import provenance

RECORD = ROOT / "book" / "_data" / "lambda-trial.json"
COMMAND = "PYTHONPATH=book/_tools python -m reference.lambda_trial"
EPOCHS, BATCH, RATE, SEED = 100, 20, 1e-3, 0
FIXED = (0.1, 1.0, 10.0, 100.0)
TOLERANCES, STARTS = (0.001, 0.01, 0.1), (1.0, 100.0)

Trained = dict[str, Any]


def trained(weight: float, tolerance: float | None, epochs: int = EPOCHS) -> Trained:
    """Train one flow and measure it: λ and the mean reconstruction error of each layer, and what the page shows."""
    torch.manual_seed(SEED)
    settings = {"recon_weight": weight} if tolerance is None else {"recon_weight": weight, "tolerance": tolerance}
    flow = snf.build("dense-selfnorm", event_shape=(1, 8, 8), levels=17, **settings)
    options = {"batch_size": BATCH, "lr": RATE, "whiten": True, "seed": SEED, "decay": "cosine", "progress": False}
    history = snf.fit(flow, "digits", epochs=epochs, **options)
    test = snf.load("digits", "test")
    return {
        "start": weight,
        "tolerance": tolerance,
        "best_epoch": int(min(range(len(history.validation_nats)), key=history.validation_nats.__getitem__)),
        "test_nll": snf.evaluate(flow, "digits", split="test").nats,
        "weights": [final(layer, "weight", weight) for layer in learned_layers(flow)],
        "errors": reconstruction_errors(flow, test),
        "inverse_error": max(inverse_errors(flow)),
        "angle": max(gradient_angles(flow, test)),
        "distance": sample_pair(flow, 100, 0).relative_distance,
    }


def final(layer: Any, name: str, otherwise: float) -> float:
    """λ or the mean error of a layer that adapts its λ; ``otherwise`` where λ is fixed."""
    return otherwise if layer.adapted is None else float(getattr(layer.adapted, name))


@torch.no_grad()
def reconstruction_errors(flow: snf.Flow, x: torch.Tensor) -> list[float]:
    """The mean of ‖g(f(h)) − h‖² for each layer with a learned inverse, at its own inputs h: what λ multiplies."""
    found = []
    torch.manual_seed(SEED)  # the noise of the dequantization
    for layer in flow.layers:
        z = layer(x)[0]
        if layer.learned_inverse:
            found.append(float((layer.invert(z, exact=False) - x).flatten(1).square().sum(1).mean()))
        x = z
    return found


def run() -> dict[str, Any]:
    """All trainings, with what they ran on."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    cases = [(weight, None) for weight in FIXED]
    cases += [(weight, tolerance) for tolerance in TOLERANCES for weight in STARTS]
    found = [trained(weight, tolerance) for weight, tolerance in cases]
    data = {split: snf.load("digits", split) for split in ("train", "test")}
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "lr": RATE, "seed": SEED, "whiten": True, "decay": "cosine"}
    return {
        "command": COMMAND,
        "model": "dense-selfnorm",
        "data": {"name": "digits", **{split: len(images) for split, images in data.items()}},
        "settings": settings,
        "steps": EPOCHS * -(-len(data["train"]) // BATCH),
        "wall_seconds": round(time.perf_counter() - start, 1),
        **provenance(torch.device("cpu")),
        "trainings": found,
    }


def read() -> dict[str, Any]:
    """The stored record."""
    return json.loads(RECORD.read_text("utf-8"))


RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def small(value: float) -> str:
    """Two digits, with a power of ten below a thousandth."""
    if value >= 1e-3:
        return f"{value:.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(RAISED)}".replace(" ", "\N{NO-BREAK SPACE}")


def table(record: dict[str, Any]) -> str:
    """A row for each training, in Markdown."""
    heads = [
        "tolerance τ",
        "λ at the start",
        "λ at the end",
        "mean error of the layers",
        "test NLL",
        "‖E‖",
        "samples apart",
    ]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for one in record["trainings"]:
        tolerance = "fixed λ" if one["tolerance"] is None else f"{one['tolerance']:g}"
        weights = ", ".join(f"{weight:.3g}" for weight in one["weights"]) if one["tolerance"] else f"{one['start']:g}"
        errors = ", ".join(map(small, one["errors"]))
        ends = [f"{one['test_nll']:.1f}", small(one["inverse_error"]), f"{one['distance']:.2f}"]
        lines.append([tolerance, f"{one['start']:g}", weights, errors, *ends])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def numbers(record: dict[str, Any]) -> dict[str, str]:
    """What the text says of the trial: how far adapted λ end from the best fixed one, by their start."""
    fixed = [one for one in record["trainings"] if one["tolerance"] is None]
    best = min(fixed, key=lambda one: one["test_nll"])
    found = {"trial_steps": f"{record['steps']:,}", "trial_fixed_best": f"{best['start']:g}"}
    for start, name in zip(STARTS, ("one", "hundred"), strict=True):
        ends = [
            one["test_nll"] - best["test_nll"]
            for one in record["trainings"]
            if one["tolerance"] is not None and one["start"] == start
        ]
        found |= {f"from_{name}_low": f"{min(ends):.1f}", f"from_{name}_high": f"{max(ends):.1f}"}
    return found


def main() -> None:
    write(RECORD, json.dumps(run(), indent=1) + "\n")


if __name__ == "__main__":
    main()
