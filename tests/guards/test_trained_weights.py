"""Trained weights are never initialized again, and a learned inverse that was left untrained is noticed."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import snf_lite as snf


def data() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(300, 2, generator=generator) @ torch.tensor([[3.0, 0.0], [1.0, 0.5]]) + 2


def made() -> snf.Flow:
    torch.manual_seed(0)
    layers = [snf.ActNorm(2), snf.ExactLinear(2), snf.SmoothLeakyReLU(), snf.ActNorm(2), snf.ExactLinear(2)]
    return snf.Flow(layers, (2,))


def trained(steps: int = 30) -> snf.Flow:
    flow, x = made(), data()
    adam = torch.optim.Adam(flow.parameters(), 3e-2)
    for _ in range(steps):
        adam.zero_grad()
        flow.loss(x).backward()
        adam.step()
    adam.zero_grad()
    return flow


def through_file(flow: snf.Flow, folder: Path) -> snf.Flow:
    snf.save(flow, folder / "flow.pt")
    return snf.restore(folder / "flow.pt")


def loaded(flow: snf.Flow, _: Path) -> snf.Flow:
    other = made()
    other.load_state_dict(flow.state_dict())
    return other


def loaded_by_layer(flow: snf.Flow, _: Path) -> snf.Flow:
    layers = [type(layer)(**layer.settings()) for layer in flow.bijections]
    for mine, theirs in zip(layers, flow.layers, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return snf.Flow(layers, (2,))


WAYS: dict[str, Callable[[snf.Flow, Path], snf.Flow]] = {
    "own loop": lambda flow, _: flow,
    "saved and restored": through_file,
    "state dict": loaded,
    "state dicts of layers": loaded_by_layer,
    "new flow": lambda flow, _: snf.Flow([*flow.layers, snf.ActNorm(2)], (2,)),
    "part of a new flow": lambda flow, _: snf.Flow([snf.ActNorm(2), *list(flow.layers)[:2]], (2,)),
    "deepcopy": lambda flow, _: copy.deepcopy(flow),
    "pickle": lambda flow, _: pickle.loads(pickle.dumps(flow)),
    "float64": lambda flow, _: flow.double(),
    "float64 and back": lambda flow, _: flow.double().float(),
    "average": lambda flow, _: torch.optim.swa_utils.AveragedModel(flow).module,
}


@pytest.mark.parametrize("way", WAYS)
def test_trained_weights_are_not_initialised_again(way: str, tmp_path: Path) -> None:
    flow = WAYS[way](trained(), tmp_path)
    x = data().to(flow.dtype)
    before = snf.evaluate(flow, x).nats
    with pytest.warns(UserWarning, match="whiten=True is left out: the flow's weights were trained or loaded"):
        history = snf.fit(flow, x, epochs=1, lr=1e-9, whiten=True, validation=x, progress=False)
    assert history.validation_nats[0] == pytest.approx(before, abs=1e-6)
    snf.fit(flow, x, epochs=1, lr=1e-9, whiten=True, validation=x, progress=False) if flow.initialised else None


@pytest.mark.parametrize(
    "way", ["untouched", "float64", "own values before the flow", "deepcopy", "evaluated", "saved and restored"]
)
def test_a_fresh_flow_is_still_initialised(way: str, tmp_path: Path) -> None:
    flow, x = made(), data()
    if way == "own values before the flow":
        layers = [snf.ActNorm(2), snf.ExactLinear(2)]
        with torch.no_grad():
            layers[1].weight.copy_(torch.eye(2) * 3)
        flow = snf.Flow(layers, (2,))
    elif way == "float64":
        flow, x = flow.double(), x.double()
    elif way == "deepcopy":
        flow = copy.deepcopy(flow)
    elif way == "saved and restored":
        flow = through_file(through_file(flow, tmp_path), tmp_path)
    elif way == "evaluated":
        snf.evaluate(flow, x)
        flow.loss(x).backward()
    assert flow.is_fresh
    snf.fit(flow, x, epochs=1, lr=1e-9, whiten=True, validation=x, progress=False)
    assert flow.initialised and not flow.is_fresh
    z = flow(x)[0] if way == "own values before the flow" else flow.layers[1](flow.layers[0](x)[0])[0]
    assert torch.allclose(torch.cov(z.T), torch.eye(2, dtype=x.dtype), atol=1e-3)


def test_initialise_does_what_it_is_asked() -> None:
    flow, x = trained(), data()
    flow.initialise(x, whiten=True)
    z = flow.layers[1](flow.layers[0](x)[0])[0]
    assert torch.allclose(torch.cov(z.T), torch.eye(2), atol=1e-3)


def by_hand(kind: str, steps: int = 120) -> snf.Flow:
    torch.manual_seed(0)
    flow, x = snf.build("dense-selfnorm", (2,), depth=3), data()
    flow.initialise(x, whiten=True)
    adam = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(steps):
        adam.zero_grad()
        (flow.loss(x) if kind == "loss" else -flow.log_prob(x).mean()).backward()
        adam.step()
    return flow


USES: dict[str, Callable[[snf.Flow], object]] = {
    "sample": lambda flow: flow.sample(5),
    "reconstruct": lambda flow: flow.reconstruct(data()),
    "inverse": lambda flow: flow.inverse(torch.randn(20, 2), exact=False),
}


@pytest.mark.parametrize("use", USES)
def test_a_learned_inverse_left_behind_is_noticed(use: str) -> None:
    flow = by_hand("-log_prob")
    with pytest.warns(UserWarning, match=r"SelfNormLinear: f\(g\(z\)\) differs from z by \d+%.*train by flow.loss"):
        USES[use](flow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        USES[use](flow)  # once for a state of the weights
        flow.sample(5, exact=True)
    (-flow.log_prob(data()).mean()).backward()
    with pytest.warns(UserWarning, match="learned inverse g"):
        USES[use](flow)


@pytest.mark.parametrize(("kind", "noticed"), [("-log_prob", True), ("loss", False)])
def test_a_learned_inverse_left_behind_is_noticed_in_a_flow_of_the_same_layers(kind: str, noticed: bool) -> None:
    flow = snf.Flow(by_hand(kind, 400).layers, (2,))  # type: ignore[arg-type]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        flow.sample(5)
    assert ["learned inverse g" in str(one.message) for one in warned] == [True] * noticed


def test_a_learned_inverse_left_behind_is_noticed_after_loading(tmp_path: Path) -> None:
    flow = through_file(by_hand("-log_prob", 400), tmp_path)
    with pytest.warns(UserWarning, match="learned inverse g"):
        flow.sample(5)


def test_a_normal_training_is_silent(tmp_path: Path) -> None:
    flow, x = by_hand("loss"), data()
    with torch.no_grad():
        flow.log_prob(x)
    flow.sample(5)
    snf.fit(flow, x, epochs=1, progress=False)
    flow.sample(5)
    through_file(flow, tmp_path).sample(5)
    torch.autograd.grad(flow.log_prob(x.requires_grad_()).sum(), x)
    flow.sample(5)


def test_pixels_as_floats_are_refused_wherever_a_flow_takes_them() -> None:
    pixels = torch.randint(0, 17, (5, 1, 4, 4), dtype=torch.uint8)
    flow = snf.build("dense-selfnorm", (1, 4, 4), 17)
    for x, message in ((pixels / 16, r"as if scaled to \[0, 1\]: type \(x \* 16\)"), (pixels.float(), "whole numbers")):
        maps = () if message == "whole numbers" else (flow.reconstruct, flow)  # of a level's edge, not a density
        for use in (flow.log_prob, flow.loss, flow.initialise, *maps):
            with pytest.raises(TypeError, match=f"Flow: expected pixels as torch.uint8.*{message}"):
                use(x)
    flow.log_prob(pixels + torch.rand(pixels.shape)), flow.log_prob(pixels)
