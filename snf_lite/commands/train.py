"""``train``: train a model on a data set or on own data."""

import argparse
from dataclasses import replace
from typing import Any

from snf_lite import models
from snf_lite.commands import parser as options
from snf_lite.commands.stored import CHECKPOINT, import_modules
from snf_lite.data.datasets import DataTensor
from snf_lite.experiments.arguments import add_fields, values_of
from snf_lite.experiments.run import Parts, RunConfig, run
from snf_lite.runtime import distributed
from snf_lite.runtime.devices import choose_device
from snf_lite.training.checkpoints import CheckpointError
from snf_lite.training.settings import TrainingConfig

#: In place of a model: the one that suits the data.
AUTO = "auto"
RESUMES = "Run the same command{} again to resume."


def add(commands: Any) -> None:
    """Add the command ``train``."""
    parser = options.add_command(commands, "train", train, RESUMES, "[MODEL]")
    add = parser.add_argument
    which = "model; `list` shows which takes which data, and its settings (default: one that suits --data)"
    add("model", nargs="?", metavar="MODEL", help=which)
    data = "data set, as `list` names it, or path of own data: a folder of images, or .npy, .npz, .csv"
    add("--data", metavar="DATA", help=f"{data} (default, with a MODEL: digits)")
    gray = "channels of own images: 1 for gray, 3 for color (default: 3 if one has colors)"
    add("--channels", type=int, choices=(1, 3), metavar="C", help=gray)
    parts = "seed that splits own data into 80%% to train on, 10%% validation, 10%% test"
    add("--split-seed", type=int, default=0, metavar="N", help=parts)
    add_fields(parser, TrainingConfig, skip=("seed",))  # abbreviated, also --warmup and --clip, as in old records
    add("--recon-weight", type=float, metavar="λ", help="weight of the reconstruction penalty (default: the model's)")
    options.add_settings(parser, "setting of the model; may be repeated")
    options.add_imports(parser)
    options.add_seed_and_device(parser, "seed of the initial weights, the order and the noise")
    options.add_progress(parser)
    overwrite = "start from scratch, replacing an existing run of this name"
    options.add_output(parser, "name of the run's folder (default: MODEL-DATA-seedN)", overwrite)


def train(args: argparse.Namespace) -> None:
    """Train a model, or resume its training.

    The folder of the run gets its checkpoint, the record of how its result was obtained, and a figure of samples.
    """
    import_modules(args.imports)
    weight = {} if args.recon_weight is None else {"recon_weight": args.recon_weight}
    settings = {**dict(args.set), **weight}
    if args.model is None and args.data is None:
        raise ValueError("expected a MODEL, or --data for which one is chosen, got neither")
    model = None if args.model in (None, AUTO) else options.require_model(args.model)
    training = TrainingConfig(**values_of(args, TrainingConfig))
    own = (args.channels, args.split_seed, tuple(args.imports))
    config = RunConfig(model or AUTO, options.require_data(args.data or "digits"), settings, training, *own)
    if config.named and args.channels:
        raise ValueError(f"--channels is for own images, not for {args.data}")
    process = distributed.current(choose_device(args.device))
    parts = process.local_main_first(config.parts)
    if process.is_main and not config.named:
        print(_described(parts, config.split_seed), flush=True)
    if model is None:
        config = _chosen(config, parts.train, process.is_main)
    options.require_settings(config.model, settings)
    flow = config.fresh_flow(parts.train)
    folder = args.out / (args.name or config.name)
    try:
        result = run(config, flow, parts, folder, process, args.overwrite, args.progress)
    except CheckpointError as error:
        way_out = "" if "--overwrite" in str(error) else f" --overwrite starts from scratch; {CHECKPOINT} is then lost."
        raise CheckpointError(f"{error}{way_out}") from error
    if process.is_main:
        print(result)


def _chosen(config: RunConfig, train_set: DataTensor, shown: bool) -> RunConfig:
    """The configuration with the model that suits the data."""
    picked = models.choose(tuple(train_set.shape[1:]), train_set.levels, len(train_set))
    if picked is None:
        raise ValueError(f"no model is made for {config.data}, of shape {tuple(train_set.shape[1:])}; give a MODEL")
    if shown:
        usual = (config.training.lr, config.training.decay) == (TrainingConfig.lr, TrainingConfig.decay)
        hint = "; such data are learned faster by --lr 5e-3 --decay cosine" if usual and not train_set.levels else ""
        print(f"model: {picked[0]}{hint}", flush=True)
    return replace(config, model=picked[0], settings={**picked[1], **config.settings})


def _described(parts: Parts, seed: int) -> str:
    train_set = parts.train
    kind = "rows of numbers" if train_set.levels is None else f"images of {train_set.levels} levels"
    counts = f"{len(train_set)} to train on, {len(parts.validation)} for validation, {len(parts.test)} for test"
    return f"{train_set.name}: {kind}, shape {tuple(train_set.shape[1:])}; {counts}, split by seed {seed}"
