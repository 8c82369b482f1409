"""What the tests of several processes run: here in one process, and under torchrun in two, whose results it saves.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/joint_runs.py FOLDER

Every case leaves plain values and tensors. Each process draws weights of its own, of which the writer's must win.
"""

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.cli import main
from snf_lite.runtime import distributed
from snf_lite.training import checkpoints
from snf_lite.training.step import Means

#: Of 103 events in batches of 51 each epoch ends with a batch of one: one of two processes gets none of it.
POINTS = {"data": snf.sample_density("moons", 103).double(), "validation": snf.sample_density("moons", 50, 1).double()}
IMAGES = torch.randn(23, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
PIXELS = torch.randint(0, 17, (43, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def weights(flow: snf.Flow) -> Tensor:
    """All that a run leaves in a flow, floating buffers included."""
    state = [*flow.parameters(), *(b for b in flow.buffers() if b.is_floating_point())]
    return torch.cat([value.detach().flatten() for value in state])


def fresh(name: str, shape: tuple[int, ...] = (2,), levels: int | None = None, **settings: Any) -> snf.Flow:
    torch.manual_seed(distributed.rank())
    return snf.build(name, shape, levels, **settings).double()


def ended(flow: snf.Flow, **asked: Any) -> dict[str, Any]:
    """Where a short training ends."""
    asked = {**POINTS, "epochs": 3, "batch_size": 51, "lr": 1e-2, **asked}
    history = snf.fit(flow, device="cpu", **asked)
    return {"weights": weights(flow), "nats": history.validation_nats, "settings": history.settings}


def images(name: str, **settings: Any) -> dict[str, Any]:
    flow = fresh(name, (1, 4, 4), **settings)
    return ended(flow, data=IMAGES, validation=IMAGES[:5], batch_size=5)


class Watched(snf.SelfNormLinear):
    """A layer whose weight of the reconstruction follows a moving average of its error."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("latest", torch.zeros(()))
        self.register_buffer("average", torch.ones(()))

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        z, term, penalty = super().surrogate(x)
        assert penalty is not None
        if torch.is_grad_enabled():
            self.latest.copy_(penalty.detach().mean())
        return z, term, self.average * penalty

    def adapt(self) -> None:
        self.average.lerp_(self.latest.sqrt(), 0.1)
        self.average.add_(0.1 * distributed.rank())  # as a layer would that draws at random


def adapted() -> dict[str, Any]:
    torch.manual_seed(distributed.rank())
    return ended(snf.Flow([Watched(2), snf.SmoothLeakyReLU(), Watched(2)], (2,)).double())


def compiled() -> dict[str, Any]:
    """By a compiler that captures and changes nothing: it still is compiled code that the gradients come from."""
    plain = torch.compile
    torch.compile = lambda work, **settings: plain(work, backend="eager", **settings)  # type: ignore[assignment]
    try:
        return ended(fresh("dense-selfnorm"), compile=True)
    finally:
        torch.compile = plain  # type: ignore[assignment]


CONVOLUTIONS = ("conv-selfnorm", "conv-exact", "conv-emerging", "conv-exponential")
#: What one process and two must agree on.
SAME: dict[str, Callable[[], dict[str, Any]]] = {
    "dense-selfnorm": lambda: ended(fresh("dense-selfnorm")),
    "dense-exact": lambda: ended(fresh("dense-exact"), whiten=True),
    "dense-relative": lambda: ended(fresh("dense-relative"), clip_norm=0.1),
    "dense-lu": lambda: ended(fresh("dense-lu", front=True)),
    **{name: lambda name=name: images(name, blocks=2, depth=2) for name in CONVOLUTIONS},
    "glow-selfnorm": lambda: images("glow-selfnorm", steps=2, width=8, tolerance=0.1, checkpointing=True),
    "adapted": adapted,
    "a few events": lambda: ended(fresh("dense-selfnorm"), data=POINTS["data"][:3], batch_size=1),
}


# ---- only for several ------------------------------------------------------------------------------------------------


def unweighted() -> dict[str, Any]:
    """The mistake: every process counts alike, however few events it has."""
    right = distributed.share
    distributed.share = lambda indices: (right(indices)[0], 1.0)
    try:
        return ended(fresh("dense-selfnorm"))
    finally:
        distributed.share = right


def without_the_mean_of_buffers() -> dict[str, Any]:
    right = distributed.average
    distributed.average = lambda tensors, weight: None
    try:
        return adapted()
    finally:
        distributed.average = right


def noise() -> Tensor:
    """What the first layer adds to black pixels in the only step of an epoch."""
    flow, seen = fresh("dense-selfnorm", (1, 4, 4), 17), []
    dequantize = flow.chain()[0]
    transform = dequantize.transform
    dequantize.transform = lambda x: seen.append(transform(x)[0]) or transform(x)  # type: ignore[method-assign]
    asked = {"data": torch.zeros_like(PIXELS), "validation": PIXELS[:1], "epochs": 1, "batch_size": 43}
    ended(flow, **asked)
    return next(x for x in seen if 1 < len(x) < 43)[:20]  # the writer also initialises and validates


def resumed(folder: Path) -> dict[str, Any]:
    """A run in one go, the same in two, and how often this process wrote."""
    write, written = checkpoints.write, []
    checkpoints.write = lambda *told: written.append(told) or write(*told)
    try:
        ends = {name: pixels(folder / f"{name}.pt", epochs) for name, epochs in (("whole", [4]), ("cut", [2, 4]))}
    finally:
        checkpoints.write = write
    return {**ends, "written": len(written)}


def pixels(checkpoint: Path, stops: list[int]) -> dict[str, Any]:
    asked = {"data": PIXELS, "validation": PIXELS[:9], "batch_size": 10, "checkpoint": checkpoint}
    return [ended(fresh("dense-selfnorm", (1, 4, 4), 17), **asked, epochs=stop) for stop in stops][-1]


def taken_over(folder: Path) -> dict[str, Any]:
    """The run of one process, in ``one.pt``, taken further."""
    return pixels(folder / "one.pt", [3])


def failure(where: int) -> str:
    """What is raised when the loss fails in one process, in its second step."""
    flow = fresh("dense-selfnorm")
    loss, count = flow.loss, iter(range(100))

    def failing(x: Tensor) -> Tensor:
        if next(count) == 1 and distributed.rank() == where:
            raise snf.NotInvertibleError(f"lost in process {where}.")
        return loss(x)

    flow.loss = failing  # type: ignore[method-assign]
    return raised(lambda: ended(flow))


def spoilt_gradient() -> str:
    flow = fresh("dense-selfnorm")
    if distributed.rank() == 1:
        flow.layers[3].inverse_weight.register_hook(lambda gradient: gradient * float("inf"))
    return raised(lambda: ended(flow))


def failing_validation() -> str:
    flow = fresh("dense-selfnorm")
    flow.log_prob = lambda x: 1 / 0  # type: ignore[method-assign]
    return raised(lambda: ended(flow))


def idle_parameter() -> str:
    flow = fresh("dense-selfnorm")
    flow.layers[1].register_parameter("idle", torch.nn.Parameter(torch.zeros(3, dtype=torch.float64)))
    return raised(lambda: ended(flow))


def raised(work: Callable[[], Any]) -> str:
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def said(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


def reproduced(folder: Path) -> tuple[int, str, str]:
    words = "reproduce --rows dense-exact --data digits --minutes 0.01 --set front=False --device cpu --out".split()
    return said(*words, str(folder / "runs"))


def trained_by_command() -> tuple[int, str, str]:
    """What torchrun runs for a user, into the current folder. It also makes the group that all later cases use."""
    words = "train dense-selfnorm --data moons --epochs 2 --batch-size 1001 --device cpu --set depth=3".split()
    assert not torch.distributed.is_initialized(), "the command line has to make the group by itself"
    return said(*words)


def several(folder: Path) -> dict[str, Any]:
    return {
        "compiled": compiled(),
        "unweighted": unweighted(),
        "unaveraged": without_the_mean_of_buffers(),
        "noise": noise(),
        "resumed": resumed(folder),
        "taken over": taken_over(folder),
        "failures": [failure(0), failure(1)],
        "gradient": spoilt_gradient(),
        "validation": failing_validation(),
        "idle": idle_parameter(),
        "graph": raised(lambda: Means(cuda_graph=True).require_on(torch.device("cuda"))),
        "reproduce": reproduced(folder),
        "evaluate": said("evaluate", "gone.pt"),
    }


if __name__ == "__main__":
    here = Path(sys.argv[1])
    found = {"command": trained_by_command()}
    assert distributed.world_size() == 2, "the command line has made no group of two"
    found |= {**{name: case() for name, case in SAME.items()}, **several(here)}
    torch.save(found, here / f"process{distributed.rank()}.pt")
