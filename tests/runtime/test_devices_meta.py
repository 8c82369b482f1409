"""Models and layers keep to the device of their tensors, and need no float64 on it: seen without a GPU."""

from collections.abc import Callable, Iterator

import pytest
import torch
from layer_table import CASES
from small_models import small
from stand_in import NAME, StandIn, There
from torch import Tensor

import snf_lite as snf
from snf_lite import flow
from snf_lite.dense import DenseLayer
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks

MODELS = snf.model_names()


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in has values where ``meta`` has none: the checks on them run, as they do on a GPU."""
    monkeypatch.setattr(checks, "is_eager", lambda x: not checks.under_functorch())


@pytest.fixture
def single(readable: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the test ``meta`` is a device without float64."""
    monkeypatch.setattr(dense_matrix, "WITHOUT_FLOAT64", {NAME})
    with StandIn(float64=False):
        yield


def model(name: str) -> snf.Flow:
    torch.manual_seed(0)
    return small(name, event_shape=(1, 4, 4), levels=17)


def pixels() -> Tensor:
    """Uneven enough for every covariance and convolution to have an inverse."""
    return torch.randint(0, 17, (40, 1, 4, 4), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def all_of_it(made: snf.Flow, events: Tensor, whiten: bool = True) -> dict[str, Tensor]:
    """What a flow is asked for, in turn."""
    found = {}
    made.initialise(events, whiten=whiten)
    torch.manual_seed(2)
    found["loss"] = made.loss(events)
    found["loss"].backward()
    found["gradient"] = torch.stack([weight.grad.norm() for weight in made.parameters() if weight.grad is not None])
    found["log_prob"] = made.log_prob(events).detach()
    found["sample"] = made.sample(3)
    found["exact sample"] = made.sample(3, exact=True)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_model_on_meta_does_all_it_is_asked_for(name: str) -> None:
    """Checks on values step aside, and every result has its shape. (``torch.cov``, to whiten, needs values.)"""
    here = all_of_it(model(name), pixels(), whiten=False)
    there = all_of_it(model(name).to(NAME), pixels().to(NAME), whiten=False)
    assert {what: (one.shape, one.dtype) for what, one in there.items()} == {
        what: (one.shape, one.dtype) for what, one in here.items()
    }
    assert all(one.is_meta for one in there.values())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_the_same_on_a_device_without_float64(name: str, single: None) -> None:
    """Nothing lies on a wrong device, and what needs float64 finds it on the CPU."""
    here = all_of_it(model(name), pixels())
    there = all_of_it(model(name).to(NAME), pixels().to(NAME))
    for what, one in there.items():
        assert isinstance(one, There), what
        torch.testing.assert_close(
            one.held, here[what], rtol=1e-3, atol=1e-3, msg=lambda why, what=what: f"{what}: {why}"
        )


def passes(name: str) -> None:
    """A layer of the table there: forward, training, and both inverses."""
    layer, events = CASES[name].layer(torch.float32).to(NAME), CASES[name].events(dtype=torch.float32).to(NAME)
    z, log_det = layer(events)
    assert isinstance(z, There) and isinstance(log_det, There)
    results = layer.surrogate(events.clone().requires_grad_())
    sum(result.sum() for result in results if result is not None).backward()
    for exact in (True, False):
        assert isinstance(layer.inverse(z.detach(), exact=exact), There)


@pytest.mark.parametrize("float64", [True, False])
def test_every_layer_keeps_to_its_device(float64: bool, readable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_matrix, "WITHOUT_FLOAT64", set() if float64 else {NAME})
    wrong = {}
    with StandIn(float64):
        for name in CASES:
            try:
                passes(name)
            except (RuntimeError, TypeError) as error:
                wrong[name] = str(error)
    assert not wrong, "\n".join(f"{name}: {why}" for name, why in wrong.items())


# ---- the stand-in bites ----------------------------------------------------------------------------------------------


def in_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DenseLayer.transform
    monkeypatch.setattr(
        DenseLayer, "transform", lambda self, x: (right(self, x)[0] + torch.zeros(16), right(self, x)[1])
    )


def in_the_product_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseLayer, "transform", lambda self, x: (x @ torch.eye(16) @ self.weight, x.new_zeros(len(x))))


def in_the_base_density(monkeypatch: pytest.MonkeyPatch) -> None:
    right = flow.standard_normal_log_prob
    monkeypatch.setattr(flow, "standard_normal_log_prob", lambda z: right(z) - torch.zeros(len(z)))


def in_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snf.Flow, "sample_base", lambda self, n, *_, **__: torch.zeros(n, 16))


@pytest.mark.parametrize("mistake", [in_a_layer, in_the_product_of_a_layer, in_the_base_density, in_sampling])
def test_a_tensor_on_the_wrong_device_is_found(
    mistake: Callable[[pytest.MonkeyPatch], None], readable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    all_of_it(model("dense-exact"), pixels())  # on the CPU nothing is wrong
    found = "expected all tensors on one device, found meta and cpu|Flow.inverse: expected input on meta"
    with StandIn(), pytest.raises((RuntimeError, ValueError), match=found):
        all_of_it(model("dense-exact").to(NAME), pixels().to(NAME))


def test_without_float64_a_device_that_nobody_listed_computes_in_float32(
    single: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_matrix, "WITHOUT_FLOAT64", set[str]())
    dense_matrix._warn_of_float32.cache_clear()
    flow = model("conv-exact").to(NAME)
    with pytest.raises(TypeError, match="this device has no float64"):
        flow.layers[-1].weight.double()
    with pytest.warns(UserWarning, match="has no float64"):
        assert flow.log_prob(pixels().to(NAME)).dtype == torch.float32


def test_a_single_number_may_come_from_the_cpu() -> None:
    with StandIn():
        there = torch.ones(3, device=NAME)
        assert torch.equal((there * torch.tensor(2.0)).held, torch.full((3,), 2.0))
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            torch.stack([there[0], torch.tensor(2.0)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_the_same_on_a_gpu(name: str) -> None:
    here = all_of_it(model(name), pixels())
    there = all_of_it(model(name).to("cuda"), pixels().to("cuda"))
    for what in ("loss", "gradient", "log_prob"):  # samples draw from the device's own generator
        assert there[what].device.type == "cuda", what
        torch.testing.assert_close(there[what].cpu(), here[what], rtol=1e-3, atol=1e-3)
    assert all(there[what].shape == one.shape for what, one in here.items())
