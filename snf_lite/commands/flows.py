"""``evaluate`` and ``sample``: what a trained or saved flow gives."""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snf_lite.analysis.sampling import sample_pair
from snf_lite.commands import parser as options
from snf_lite.commands.stored import checkpoint_of, import_modules, own_part, restore, training_data
from snf_lite.data.datasets import dataset_names
from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.files import atomic_write, expanded
from snf_lite.training.evaluation import evaluate

#: Suffixes of files of numbers, and of figures.
ARRAYS = (".npy", ".npz", ".csv")
FIGURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg", ".eps")
#: Default number of samples in a file of numbers, and the number that is drawn at once.
SAMPLES, AT_ONCE = 1000, 1000


def add(commands: Any) -> None:
    """Add the commands ``evaluate`` and ``sample``."""
    parser = options.add_command(commands, "evaluate", evaluate_flow, wanted="RUN")
    _add_checkpoint(parser)
    add = parser.add_argument
    add("--data", metavar="DATA", help="data set, or path of own data (default: what the flow was trained on)")
    splits = "train, validation, test or, of own data, all (default: test; all of own data that were not trained on)"
    add("--split", choices=("train", "validation", "test", "all"), metavar="PART", help=splits)
    gray = "channels of own images: 1 for gray, 3 for color (default: as in the training)"
    add("--channels", type=int, choices=(1, 3), metavar="C", help=gray)
    add("--batch-size", type=int, default=1000, metavar="N", help="examples per batch")
    options.add_seed_and_device(parser, "seed of the noise that dequantizes pixels")

    parser = options.add_command(commands, "sample", sample, wanted="RUN")
    _add_checkpoint(parser)
    add = parser.add_argument
    kinds = f"file to write, a figure of both inverses or the numbers: {', '.join((*FIGURES, *ARRAYS))}"
    add("--out", type=Path, default=Path("samples.png"), metavar="FILE", help=kinds)
    add("--count", type=int, metavar="N", help="number of samples (default: 8 images or 1000 points; 1000 as numbers)")
    add("--exact", action="store_true", help="numbers of the exact inverse, not of the learned one")
    add("--temperature", type=float, default=1.0, metavar="T", help="scale of the latents")
    options.add_seed_and_device(parser, "seed of the latents")


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    what = "run's folder, or file that `train` or `snf_lite.save` wrote"
    parser.add_argument("checkpoint", metavar="RUN", type=Path, help=what)
    options.add_imports(parser)


def evaluate_flow(args: argparse.Namespace) -> None:
    """Print the exact likelihood of data under a flow."""
    import_modules(args.imports)
    path = checkpoint_of(args.checkpoint)
    flow, trained = restore(path), training_data(path)
    name = args.data or (trained or {"name": ""})["name"]
    own = name not in dataset_names()
    if own and args.data is None and "file_sha256" not in (trained or {}):
        raise ValueError(f"{path}: does not name its training data; give data to evaluate on, --data NAME or PATH")
    if own and args.data is None and not expanded(name).exists():
        raise FileNotFoundError(f"{path}: was trained on {name}, which is not there; give its path by --data.")
    if not own and (args.split == "all" or args.channels):
        raise ValueError(f"--split all and --channels are for own data, not for {name}")
    if own:
        examples = own_part(options.require_data(name), args.channels, args.split, trained)
        if args.data is None and examples.split_name == "all" and args.split is None:
            raise ValueError(f"{name}: is not the file that the flow was trained on; give --data to take all of it")
        print(evaluate(flow, examples, "all", args.batch_size, args.seed, choose_device(args.device)))
    else:
        print(evaluate(flow, name, args.split or "test", args.batch_size, args.seed, choose_device(args.device)))


def sample(args: argparse.Namespace) -> None:
    """Write samples of a flow: a figure of its learned and its exact inverse, or numbers of one of them."""
    suffix = args.out.suffix.lower()
    if suffix not in (*ARRAYS, *FIGURES):
        kinds = f"a figure {', '.join(FIGURES)} or numbers {', '.join(ARRAYS)}"
        raise ValueError(
            f"--out {args.out}: expected {kinds}, got {f'the suffix {suffix!r}' if suffix else 'no suffix'}"
        )
    checks.non_negative(args.temperature, "--temperature", "sample")
    if args.count is not None:
        checks.positive_integer(args.count, "--count", "sample")
    import_modules(args.imports)
    path = checkpoint_of(args.checkpoint)
    flow = restore(path).to(choose_device(args.device))
    learned = any(layer.learned_inverse for layer in flow.bijections)
    if suffix in FIGURES:
        print(_write_figure(flow, args, learned))
        return
    values = draw(flow, args.count or SAMPLES, args.exact or not learned, args.seed, args.temperature)
    columns = (training_data(path) or {}).get("columns", [])
    atomic_write(args.out, _as_bytes(values, suffix, columns))
    inverse = "exact" if args.exact or not learned else "learned"
    print(f"{args.out}: {len(values)} samples of the {inverse} inverse, {values.dtype} {tuple(values.shape)}")


@torch.no_grad()
def draw(flow: Flow, count: int, exact: bool, seed: int, temperature: float) -> Tensor:
    """``flow.sample(count, exact, seed=seed, temperature=temperature)`` on the CPU, ``AT_ONCE`` at a time."""
    z = flow.sample_base(count, seed=seed, temperature=temperature)
    return torch.cat([flow.inverse(part, exact=exact).cpu() for part in z.split(AT_ONCE)])


def _write_figure(flow: Flow, args: argparse.Namespace, learned: bool) -> str:
    """Write the figure; a line about it."""
    from snf_lite.analysis.figures import default_count, sample_figure  # imports matplotlib, which takes a second

    count = args.count or default_count(flow)
    pair = sample_pair(flow, count, args.seed, args.temperature)
    atomic_write(args.out, sample_figure(pair, flow.levels, count).image(args.out.suffix.lower()[1:]))
    if not learned:
        return f"{args.out}: the flow has one inverse, the exact one, which stands twice"
    places = (
        "learned inverse left, exact inverse right"
        if len(flow.event_shape) == 1
        else "learned inverse above exact inverse"
    )
    return f"{args.out}: {places}; relative distance {pair.relative_distance:.4f}"


def _as_bytes(values: Tensor, suffix: str, columns: list[str]) -> bytes:
    """Samples in the format of a suffix; as text one row for each."""
    array, file = values.numpy(), io.BytesIO()
    if suffix == ".npy":
        np.save(file, array)
    elif suffix == ".npz":
        np.savez_compressed(file, samples=array)
    else:
        rows = array.reshape(len(array), -1)
        form = "%d" if array.dtype.kind == "u" else "%.9g" if array.dtype == np.float32 else "%.17g"
        header = ",".join(f'"{name}"' if "," in name else name for name in columns)
        np.savetxt(file, rows, form, ",", header=header, comments="", encoding="utf-8")
    return file.getvalue()
