"""The rows of the paper's two tables, and rows beyond it: model, reported results, and configurations that repeat each.

Results are the paper's (Keller et al., Self Normalizing Flows, ICML 2021, https://arxiv.org/abs/2011.07248); its times
are those of the first public version, of 2020 hardware. None of them is computed here. The rows beyond the paper have
no reported results; each is trained with the settings of its exact twin.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from snf_lite.experiments.run import RunConfig
from snf_lite.training.settings import TrainingConfig

#: ``paper``: the paper's settings. ``fast``: a schedule for two processor cores, for all twins alike. ``best``: that
#: with what recorded searches (``data/runs/schedules-*``) found better; for dense layers, nothing that lasts.
PRESETS = ("paper", "fast", "best")
#: Maximum number of epochs of ``fast`` and ``best``.
FAST_EPOCHS = 100
#: The paper's training settings, apart from the number of epochs, which depends on the family.
PAPER_TRAINING = TrainingConfig(warmup_epochs=10.0)


@dataclass(frozen=True)
class PaperResult:
    """The paper's results of a row.

    Attributes:
        value, deviation: Mean and standard deviation over 3 runs, test nats (Table 1) or test bits/dim (Table 2).
        epochs: Number of epochs, where the paper gives it.
        batch_ms, sample_ms: Milliseconds of a training step, and of one sample.
    """

    value: float
    deviation: float
    epochs: int | None = None
    batch_ms: float | None = None
    sample_ms: float | None = None


@dataclass(frozen=True)
class PaperRow:
    """One row of a table, or one that the paper does not have.

    Attributes:
        name: Name for ``reproduce --rows``.
        title: Title in a table.
        model: Name of the model.
        data: Data set of the paper.
        family: Name of the group of rows that are trained for the same number of epochs.
        reported: Results of the paper; None beyond the paper.
        settings: Arguments of the builder in the paper.
        small: Arguments of the builder in ``fast``, which make a large model fit two processor cores.
        training: Training settings of the paper; ``run_config`` replaces epochs and seed.
        note: Remark for the comparison.
    """

    name: str
    title: str
    model: str
    data: str
    family: str
    reported: PaperResult | None
    settings: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig = PAPER_TRAINING
    note: str = ""

    @property
    def table(self) -> int | None:
        """Number of the paper's table; None beyond the paper."""
        if self.reported is None:
            return None
        return 1 if self.data == "mnist" else 2

    @property
    def unit(self) -> str:
        """Unit of the table's values."""
        return "bits/dim" if self.table == 2 else "nats"

    def run_config(self, preset: str, data: str, seed: int, epochs: int, **settings: Any) -> RunConfig:
        """The configuration of a run of this row; ``settings`` override those of the builder."""
        if preset not in PRESETS:
            raise ValueError(f"reproduce: expected a preset out of {', '.join(PRESETS)}, got {preset!r}.")
        training = replace(self.training, epochs=epochs, seed=seed)
        if preset == "paper":
            return RunConfig(self.model, data, {**self.settings, **settings}, training)
        start = {"front": True} if self.family in ("dense", "conv") else {}
        training = replace(
            training, lr=FAST_LR[self.family], warmup_epochs=1.0, decay="cosine", augment=False, clip_norm=None,
            whiten=self.family == "dense",
        )  # fmt: skip
        changed, larger = BEST.get(self.family, ({}, {})) if preset == "best" else ({}, {})
        builder = {**self.settings, **self.small, **start, **larger, **settings}
        return RunConfig(self.model, data, builder, replace(training, **changed))

    def most_epochs(self, preset: str) -> int | None:
        """The paper's number of epochs for the family, None if not given; ``FAST_EPOCHS`` for the others."""
        return PAPER_EPOCHS.get(self.family) if preset == "paper" else FAST_EPOCHS


#: Learning rates of the fast preset, from a few tried on the self-normalizing model of each family. For convolutions a
#: short training on MNIST did best at 1e-2 and diverged at 2e-2; this keeps a distance from there.
FAST_LR = {"dense": 1e-3, "conv": 5e-3, "glow": 1e-3, "glow-cifar10": 1e-3, "glow-imagenet32": 1e-3}
#: What ``best`` changes in ``fast`` for a family: settings of the training, and of the builder. The steps are smaller
#: than the best of a short search: at 1e-2 without clipping the self-normalizing models diverged, the convolutions
#: within three epochs and Glow in the sixth.
BEST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "conv": ({"batch_size": 50, "lr": 5e-3, "clip_norm": 500.0}, {}),
    "glow": ({"batch_size": 50, "lr": 5e-3, "clip_norm": 1000.0}, {"steps": 8, "width": 64}),
}
#: The paper's number of epochs for a family, where it gives one.
PAPER_EPOCHS = {"dense": 6000, "conv": 1000, "glow": 250}

_OTHER_IMAGENET = "the images that can be had are not those of the paper, and easier: see data/README.md"
_SMALL_GLOW = {"steps": 4, "width": 32}
#: Settings of the ``fast`` preset, in which a fixed whitening keeps the layers well conditioned.
_WHITENED = {"dense-tracked": {"tolerance": None}}


def _dense(model: str, title: str, reported: PaperResult | None, **settings: Any) -> PaperRow:
    return PaperRow(
        model, f"{title}, dense 2-layer", model, "mnist", "dense", reported, settings, _WHITENED.get(model, {}),
        training=replace(PAPER_TRAINING, lr=1e-4),
    )  # fmt: skip


def _conv(model: str, title: str, reported: PaperResult | None) -> PaperRow:
    return PaperRow(model, f"{title}, 9-layer", model, "mnist", "conv", reported)


def _glow(model: str, title: str, reported: PaperResult | None, **settings: Any) -> PaperRow:
    return PaperRow(model, f"{title}, 32-layer", model, "mnist", "glow", reported, settings, _SMALL_GLOW)


def _cifar10(
    model: str, title: str, reported: PaperResult | None, training: dict[str, Any], **settings: Any
) -> PaperRow:
    training = {"augment": True, **training}
    return _large_glow(model, title, "cifar10", 32, reported, training, settings)


def _imagenet32(model: str, title: str, reported: PaperResult, **settings: Any) -> PaperRow:
    training = {"batch_size": 64, "warmup_epochs": 0.0, "clip_norm": 10_000.0}
    return _large_glow(model, title, "imagenet32", 48, reported, training, settings, note=_OTHER_IMAGENET)


def _large_glow(
    model: str, title: str, data: str, steps: int, reported: PaperResult | None,
    training: dict[str, Any], settings: dict[str, Any], note: str = "",
) -> PaperRow:  # fmt: skip
    settings = {"scales": 3, "steps": steps, "width": 512, **settings}
    return PaperRow(
        f"{data}-{model}", f"{title}, 3 scales of {steps} steps", model, data, f"glow-{data}", reported, settings,
        _SMALL_GLOW, replace(PAPER_TRAINING, **training), note,
    )  # fmt: skip


_LISTED = (
    _dense("dense-relative", "relative gradient", PaperResult(1096.5, 0.5, None, 7.0, 69.2)),
    _dense("dense-exact", "exact gradient", PaperResult(947.6, 0.2, 6000, 44.9, 61.5)),
    _dense("dense-selfnorm", "self-normalizing", PaperResult(947.1, 0.2, 6000, 18.7, 38.6)),
    _conv("conv-emerging", "emerging convolution", PaperResult(645.7, 3.6, 1000, 305, 72)),
    _conv("conv-selfnorm", "self-normalizing convolution", PaperResult(638.6, 0.9, 1000, 212, 30)),
    _conv("conv-exponential", "convolution exponential", PaperResult(638.1, 1.0, 1000, 304, 84)),
    _conv("conv-exact", "exact gradient convolution", PaperResult(637.4, 0.2, 1000, 372, 242)),
    _glow("glow-exact", "Glow", PaperResult(575.7, 0.8, 250, 583, 163)),
    _glow("glow-selfnorm", "self-normalizing Glow", PaperResult(575.4, 1.4, 250, 476, 31), recon_weight=100.0),
    _cifar10("glow-exact", "Glow", PaperResult(3.36, 0.002), {}),
    _cifar10(
        "glow-selfnorm", "self-normalizing Glow", PaperResult(3.37, 0.004), {"clip_norm": 10_000.0},
        recon_weight=1000.0,
    ),
    _imagenet32("glow-exact", "Glow", PaperResult(4.12, 0.002)),
    _imagenet32("glow-selfnorm", "self-normalizing Glow", PaperResult(4.14, 0.007), recon_weight=1000.0),
)  # fmt: skip

#: The rows of the paper's tables.
ROWS: dict[str, PaperRow] = {row.name: row for row in _LISTED}
#: Rows that the paper does not have: exact training at the price of self-normalization.
BEYOND: dict[str, PaperRow] = {
    row.name: row
    for row in (
        # Without a whitening the second layer is ill-conditioned: at every tenth step R would leave its basin.
        _dense("dense-tracked", "tracked inverse", None, tolerance=0.1),
        _conv("conv-unbiased", "unbiased convolution", None),
        _glow("glow-unbiased", "Glow with unbiased convolutions", None),
        _cifar10("glow-unbiased", "Glow with unbiased convolutions", None, {}),
    )
}
ALL_ROWS = ROWS | BEYOND

#: Each self-normalizing model and the exact one that it is held against at equal settings.
TWINS = {"dense-selfnorm": "dense-exact", "conv-selfnorm": "conv-exact", "glow-selfnorm": "glow-exact"}
#: The same for the models of ``BEYOND``.
BEYOND_TWINS = {"dense-tracked": "dense-exact", "conv-unbiased": "conv-exact", "glow-unbiased": "glow-exact"}


def rows_for(data: str) -> list[str]:
    """The default rows of ``reproduce`` on a data set: Table 2's own on its sets, else Table 1's."""
    own = [row.name for row in _LISTED if row.data == data and row.table == 2]
    return own or [row.name for row in _LISTED if row.table == 1]


def with_twins(name: str) -> list[str]:
    """A row of ``BEYOND`` after those that it is held against: the exact twin and the self-normalizing model."""
    model = BEYOND[name].model
    start = name.removesuffix(model)
    return [f"{start}{BEYOND_TWINS[model]}", f"{start}{model.split('-')[0]}-selfnorm", name]


def row_of(model: str, data: str) -> PaperRow | None:
    """The row that a run of this model on this data belongs to, the data's own if it has one; None if no row has it."""
    rows = [row for row in ALL_ROWS.values() if row.model == model]
    return next((row for row in rows if row.data == data), rows[0] if rows else None)
