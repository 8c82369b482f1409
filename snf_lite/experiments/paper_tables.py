"""The rows of the paper's two tables: what each is, what the paper reports of it, and by which recipes it is run again.

Figures are the paper's (Keller et al., Self Normalizing Flows, ICML 2021, https://arxiv.org/abs/2011.07248); its times
are those of the first public version, of 2020 hardware. None of them is computed here.
"""

from dataclasses import dataclass, field
from typing import Any

from snf_lite.experiments.run import RunConfig

#: ``paper``: the paper's settings. ``fast``: the best schedule found on two processor cores, for all twins alike.
PRESETS = ("paper", "fast")
#: Epochs that ``fast`` is given at most unless it is told.
FAST_EPOCHS = 100


@dataclass(frozen=True)
class PaperResult:
    """What the paper states of a row.

    Attributes:
        value, deviation: mean and standard deviation over 3 runs, test nats (Table 1) or test bits/dim (Table 2).
        epochs: how long it trained, where the paper says.
        batch_ms, sample_ms: milliseconds of a training step, and of one sample.
    """

    value: float
    deviation: float
    epochs: int | None = None
    batch_ms: float | None = None
    sample_ms: float | None = None


@dataclass(frozen=True)
class PaperRow:
    """One row of a table.

    Attributes:
        name: as ``reproduce --rows`` takes it.
        title: in words.
        model: as ``build`` takes it.
        data: what the paper trained on.
        family: rows of one family are trained for equally many epochs.
        reported: the paper's figures.
        settings: of the builder, as the paper has them.
        small: settings of the ``fast`` preset that make a large model fit two processor cores.
        batch_size, lr, warmup, clip, augment: of the paper.
        note: what to know before the row is compared.
    """

    name: str
    title: str
    model: str
    data: str
    family: str
    reported: PaperResult
    settings: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 100
    lr: float = 1e-3
    warmup: float = 10.0
    clip: float | None = None
    augment: bool = False
    note: str = ""

    @property
    def table(self) -> int:
        """Which of the paper's tables."""
        return 1 if self.data == "mnist" else 2

    @property
    def unit(self) -> str:
        """In what the table's values are."""
        return "nats" if self.table == 1 else "bits/dim"

    def recipe(self, preset: str, data: str, seed: int, epochs: int, **settings: Any) -> RunConfig:
        """How the row is run; ``settings`` override those of the builder."""
        if preset not in PRESETS:
            raise ValueError(f"reproduce: expected a preset out of {', '.join(PRESETS)}, got {preset!r}.")
        make = self._paper if preset == "paper" else self._fast
        return make(data, seed, epochs, settings)

    def most_epochs(self, preset: str) -> int | None:
        """What the paper's family took, None where it does not say; of the fast preset ``FAST_EPOCHS``."""
        return PAPER_EPOCHS.get(self.family) if preset == "paper" else FAST_EPOCHS

    def _paper(self, data: str, seed: int, epochs: int, settings: dict[str, Any]) -> RunConfig:
        return RunConfig(
            self.model, data, {**self.settings, **settings}, epochs, self.batch_size, self.lr, self.warmup,
            clip=self.clip, seed=seed, augment=self.augment,
        )  # fmt: skip

    def _fast(self, data: str, seed: int, epochs: int, settings: dict[str, Any]) -> RunConfig:
        start = {"front": True} if self.family in ("dense", "conv") else {}
        return RunConfig(
            self.model, data, {**self.settings, **self.small, **start, **settings}, epochs, self.batch_size,
            FAST_LR[self.family], 1.0, "cosine", self.clip, seed, whiten=self.family == "dense",
        )  # fmt: skip


#: Learning rates of the fast preset, from a few tried on the self-normalizing model of each family. For convolutions a
#: short training on MNIST did best at 1e-2 and diverged at 2e-2; this keeps a distance from there.
FAST_LR = {"dense": 1e-3, "conv": 5e-3, "glow": 1e-3, "glow-cifar10": 1e-3, "glow-imagenet32": 1e-3}
#: How long the paper trained a family, where it says.
PAPER_EPOCHS = {"dense": 6000, "conv": 1000, "glow": 250}

_OTHER_IMAGENET = "the images that can be had are not those of the paper, and easier: see data/README.md"
_SMALL_GLOW = {"steps": 4, "width": 32}


def _dense(model: str, title: str, reported: PaperResult) -> PaperRow:
    return PaperRow(model, f"{title}, dense 2-layer", model, "mnist", "dense", reported, lr=1e-4)


def _conv(model: str, title: str, reported: PaperResult) -> PaperRow:
    return PaperRow(model, f"{title}, 9-layer", model, "mnist", "conv", reported)


def _glow(model: str, title: str, reported: PaperResult, **settings: Any) -> PaperRow:
    return PaperRow(model, f"{title}, 32-layer", model, "mnist", "glow", reported, settings, _SMALL_GLOW)


def _large_glow(model: str, title: str, data: str, steps: int, reported: PaperResult, **choices: Any) -> PaperRow:
    settings = {"scales": 3, "steps": steps, "width": 512, **choices.pop("settings", {})}
    title = f"{title}, 3 scales of {steps} steps"
    return PaperRow(f"{data}-{model}", title, model, data, f"glow-{data}", reported, settings, _SMALL_GLOW, **choices)


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
    _large_glow("glow-exact", "Glow", "cifar10", 32, PaperResult(3.36, 0.002), augment=True),
    _large_glow(
        "glow-selfnorm", "self-normalizing Glow", "cifar10", 32, PaperResult(3.37, 0.004),
        settings={"recon_weight": 1000.0}, clip=10_000.0, augment=True,
    ),
    _large_glow(
        "glow-exact", "Glow", "imagenet32", 48, PaperResult(4.12, 0.002), batch_size=64, warmup=0.0, clip=10_000.0,
        note=_OTHER_IMAGENET,
    ),
    _large_glow(
        "glow-selfnorm", "self-normalizing Glow", "imagenet32", 48, PaperResult(4.14, 0.007),
        settings={"recon_weight": 1000.0}, batch_size=64, warmup=0.0, clip=10_000.0, note=_OTHER_IMAGENET,
    ),
)  # fmt: skip

ROWS: dict[str, PaperRow] = {row.name: row for row in _LISTED}

#: Each self-normalizing model and the exact one that it is held against at equal settings.
TWINS = {"dense-selfnorm": "dense-exact", "conv-selfnorm": "conv-exact", "glow-selfnorm": "glow-exact"}


def rows_for(data: str) -> list[str]:
    """The rows that ``reproduce`` runs on a data set unless it is told: Table 2's own on its sets, else Table 1's."""
    own = [row.name for row in _LISTED if row.data == data and row.table == 2]
    return own or [row.name for row in _LISTED if row.table == 1]


def row_of(model: str, data: str) -> PaperRow | None:
    """The row that a run of this model on this data belongs to; None for a model that no table has."""
    wanted = rows_for(data)
    return next((row for row in _LISTED if row.model == model and row.name in wanted), None)
