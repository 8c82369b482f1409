"""``save`` refuses at once what ``restore`` could not give back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import small
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import snf_lite as snf


class Scaled(snf.FlowLayer):
    """A layer whose settings() is as complete as each test makes it."""

    given: dict[str, Any] | None = None

    def __init__(self, features: int, power: float = 1.0) -> None:
        super().__init__()
        self.features, self.power = features, power
        self.log_scale = nn.Parameter(torch.zeros(features))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * (self.power * self.log_scale).exp(), (self.power * self.log_scale).sum().expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z * (-self.power * self.log_scale).exp()

    def settings(self) -> dict[str, Any]:
        return super().settings() if self.given is None else self.given


class PassedOn(Scaled):
    """A subclass that hands all it is given to the class above it."""

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)


class Kept(snf.FlowLayer):
    """A layer whose options no constructor names."""

    def __init__(self, *, power: float = 1.0, **options: Any) -> None:
        super().__init__()
        self.power, self.options = power, options

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z


class Shifted(snf.Flow):
    """Another likelihood than a plain flow of the same layers."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return super().log_prob(x, context) - 1


def flow_of(given: dict[str, Any] | None, power: float = 1.0) -> snf.Flow:
    layer = Scaled(2, power)
    layer.given = given
    return snf.Flow([layer], (2,))


def changed(way: Callable[[snf.Flow], object]) -> snf.Flow:
    flow = snf.build("dense-exact", (2,))
    way(flow)
    return flow


REFUSED: dict[str, tuple[Callable[[], snf.Flow], str]] = {
    "pruned": (lambda: changed(lambda f: prune.random_unstructured(f.layers[1], "weight", amount=1)), "prune.remove"),
    "old weight_norm": (lambda: changed(lambda f: weight_norm(f.layers[1])), "remove_weight_norm"),
    "old spectral_norm": (lambda: changed(lambda f: spectral_norm(f.layers[1])), "remove_spectral_norm"),
    "weight_norm": (lambda: changed(lambda f: parametrizations.weight_norm(f.layers[1])), "remove_parametrizations"),
    "orthogonal": (lambda: changed(lambda f: parametrizations.orthogonal(f.layers[1])), "remove_parametrizations"),
    "a module more": (lambda: changed(lambda f: f.add_module("encoder", nn.Linear(3, 2))), "encoder.weight"),
    "a parameter more": (
        lambda: changed(lambda f: f.layers[1].register_parameter("extra", nn.Parameter(torch.zeros(1)))),
        r"layers\[1\] .*other tensors: extra",
    ),
    "a subclass": (lambda: Shifted([snf.ExactLinear(2)], (2,)), "Flow, got its subclass Shifted"),
    "no settings": (lambda: flow_of({}), r"layers\[0\] Scaled: settings\(\) must give .*'features'"),
    "a wrong setting": (lambda: flow_of({"features": 3}), r"layers\[0\] Scaled: .*other tensors: log_scale"),
    "an unknown setting": (lambda: flow_of({"features": 2, "p": 1}), "fails: .*unexpected keyword argument 'p'"),
    "options without a name": (
        lambda: snf.Flow([Kept(power=2.0, root=3), snf.ExactLinear(2)], (2,)),
        r"what \* and \*\* stand for",
    ),
    "an option left out": (lambda: flow_of({"features": 2}, 2.0), r"leaves out power=2.0.*come back with 1.0"),
}


@pytest.mark.filterwarnings("ignore:.*_norm.* is deprecated")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_restored_is_refused(kind: str, tmp_path: Path) -> None:
    make, message = REFUSED[kind]
    path = tmp_path / "flow.pt"
    with pytest.raises(TypeError, match=message):
        snf.save(make(), path)
    assert not path.exists()
    with pytest.raises(TypeError, match=message):
        snf.fit(make(), torch.randn(50, 2), epochs=1, checkpoint=path, progress=False)
    assert not path.exists()


@pytest.mark.parametrize("name", snf.model_names())
def test_every_model_is_saved_and_restored(name: str, tmp_path: Path) -> None:
    shape = (1, 8, 8) if name.partition("-")[0] in ("dense", "conv", "glow") else (4,)
    flow = small(name, shape)
    snf.save(flow, tmp_path / "flow.pt")
    snf.save(flow, tmp_path / "flow.pt")
    again = snf.restore(tmp_path / "flow.pt")
    assert all(torch.equal(a, b) for a, b in zip(flow.parameters(), again.parameters(), strict=True))


def test_folded_weights_and_a_default_left_out_are_saved(tmp_path: Path) -> None:
    flow = snf.build("dense-exact", (2,))
    prune.random_unstructured(flow.layers[1], "weight", amount=1)
    prune.remove(flow.layers[1], "weight")
    snf.save(flow, tmp_path / "flow.pt")
    assert torch.equal(snf.restore(tmp_path / "flow.pt").layers[1].weight, flow.layers[1].weight)
    snf.save(flow_of({"features": 2}), tmp_path / "other.pt")


def test_options_passed_on_to_the_class_above_are_saved(tmp_path: Path) -> None:
    flow = snf.Flow([PassedOn(2, power=3.0)], (2,))
    torch.nn.init.normal_(flow.layers[0].log_scale)
    snf.save(flow, tmp_path / "flow.pt")
    x = torch.randn(5, 2)
    assert torch.equal(snf.restore(tmp_path / "flow.pt").log_prob(x), flow.log_prob(x))
    assert flow.layers[0].settings() == {"features": 2, "power": 3.0}


def test_a_layer_of_a_script_is_restored_where_the_script_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "main.pt"
    snf.save(flow_of(None, 2.0), path)
    described = snf.restore(path)
    monkeypatch.setattr(Scaled, "registered_name", "__main__.Scaled")
    snf.save(flow_of(None, 2.0), path)
    assert isinstance(snf.restore(path).layers[0], Scaled) and isinstance(described.layers[0], Scaled)
    monkeypatch.setattr(Scaled, "registered_name", "__main__.Gone")
    monkeypatch.setitem(snf.FlowLayer.registry, "__main__.Gone", Scaled)
    snf.save(flow_of(None, 2.0), path)
    monkeypatch.delitem(snf.FlowLayer.registry, "__main__.Gone")
    with pytest.raises(ValueError, match="run the script or cell that defines it first"):
        snf.restore(path)


@pytest.mark.parametrize(("given", "name"), [(None, "NoneType"), ([snf.ExactLinear(2)], "list"), ("flow.pt", "str")])
def test_save_says_what_it_takes(given: Any, name: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"expected a Flow, got a {name}"):
        snf.save(given, tmp_path / "flow.pt")


@pytest.mark.parametrize("layers", [None, snf.ExactLinear(2)])
def test_a_flow_says_what_it_takes(layers: Any) -> None:
    with pytest.raises(TypeError, match="Flow: expected layers to be a list, got"):
        snf.Flow(layers, (2,))


def test_save_takes_the_flow_in_a_wrapper_or_says_how_to_get_it(tmp_path: Path) -> None:
    flow = snf.build("dense-exact", (2,))
    for wrapped in (torch.nn.DataParallel(flow), torch.compile(flow, backend="eager")):
        snf.save(wrapped, tmp_path / "flow.pt")  # type: ignore[arg-type]
        assert torch.equal(snf.restore(tmp_path / "flow.pt").layers[-1].weight, flow.layers[-1].weight)
    average = torch.optim.swa_utils.AveragedModel(flow)
    with pytest.raises(TypeError, match=r"got a AveragedModel: give its \.module"):
        snf.save(average, tmp_path / "flow.pt")  # type: ignore[arg-type]
