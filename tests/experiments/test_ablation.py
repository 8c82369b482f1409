"""Forks of a run: each branch's gradient against one built apart from the layers, and what the command leaves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_table import CASES, LEARNED
from torch import Tensor

import snf_lite as snf
from snf_lite.analysis import learned_inverse
from snf_lite.cli import main as command_line
from snf_lite.experiments import ablation, manifest
from snf_lite.linalg import toeplitz
from snf_lite.training import checkpoints


def one_layer(name: str) -> tuple[snf.Flow, Tensor]:
    """A flow of one layer at random parameters, and events for it."""
    case = CASES[name]
    return snf.Flow([case.layer()], case.event_shape), case.events(5)


def gradients(flow: snf.Flow, loss: Callable[[snf.Flow, Tensor], Tensor], x: Tensor) -> dict[str, Tensor | None]:
    flow.zero_grad()
    loss(flow, x).backward()
    return {name: weight.grad for name, weight in flow.layers[0].named_parameters()}


def reconstruction(flow: snf.Flow, x: Tensor) -> Tensor:
    """λ ‖R W x − x‖², a mean over the batch, differentiable by both."""
    layer: Any = flow.layers[0]
    weight, inverse = (layer.get_parameter(name) for name in ("weight", "inverse_weight"))
    if weight.dim() == 4:
        weight, inverse = (toeplitz.matrix(taps, *flow.event_shape[1:]) for taps in (weight, inverse))
    rows = x.flatten(1)
    return float(layer.recon_weight) * ((rows @ weight.T @ inverse.T - rows).square().sum(1)).mean()


@pytest.mark.parametrize("name", LEARNED)
def test_the_exact_volume_replaces_the_stand_in_and_nothing_else(name: str) -> None:
    flow, x = one_layer(name)
    own, found = (gradients(flow, loss, x) for loss in (ablation.own_loss, ablation.exact_log_det_loss))
    flow.zero_grad()
    (reconstruction(flow, x) - 0.5 * flow.log_prob(x).mean()).backward()
    wanted = flow.layers[0].get_parameter("weight").grad
    assert wanted is not None and found["weight"] is not None and own["weight"] is not None
    assert (found["weight"] - wanted).abs().max() < 1e-9 * wanted.abs().max()
    assert (own["weight"] - wanted).abs().max() > 1e-3 * wanted.abs().max()
    for other in found.keys() - {"weight"}:
        assert torch.equal(found[other], own[other])  # type: ignore[arg-type]


def test_the_exact_branch_is_that_of_the_exact_twin() -> None:
    flow, x = one_layer("SelfNormLinear")
    twin: Any = snf.Flow([snf.ExactLinear(x.shape[1])], x.shape[1:]).double()
    twin.load_state_dict(flow.state_dict(), strict=False)
    found = gradients(flow, ablation.exact_loss, x)
    twin.loss(x).backward()
    assert torch.allclose(found["weight"], twin.layers[0].weight.grad, rtol=1e-10)  # type: ignore[arg-type]
    assert found["inverse_weight"] is None


@pytest.mark.parametrize("name", LEARNED)
def test_volume_errors_compare_what_stands_in_for_the_inverse(name: str) -> None:
    flow, x = one_layer(name)
    layer: Any = flow.layers[0]
    w = layer.weight.detach().clone().requires_grad_()
    if w.dim() == 2:
        exact, guess = torch.linalg.inv(w.detach()).T, layer.inverse_weight.detach().T
    else:
        shape = flow.event_shape[1:]
        (exact,) = torch.autograd.grad(torch.linalg.slogdet(toeplitz.matrix(w, *shape)).logabsdet, w)
        guess = toeplitz.flip(layer.inverse_weight.detach()) * toeplitz.tap_counts(w, *shape)
    wanted = float((guess - exact).norm() / exact.norm())
    assert learned_inverse.log_det_gradient_errors(flow, x) == [pytest.approx(wanted, rel=1e-8)]


def test_a_true_inverse_has_no_volume_error() -> None:
    flow, x = one_layer("SelfNormLinear")
    layer: Any = flow.layers[0]
    with torch.no_grad():
        layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    assert learned_inverse.log_det_gradient_errors(flow, x)[0] < 1e-10
    assert (
        learned_inverse.log_det_gradient_errors(
            snf.Flow([snf.ExactLinear(2)], (2,)).double(), torch.ones(1, 2).double()
        )
        == []
    )


# ---- the command -----------------------------------------------------------------------------------------------------

TRAIN = ["train", "dense-selfnorm", "--data", "digits", "--epochs", "1", "--recon-weight", "2"]
ABLATE = ["ablate", "a", "--steps", "3", "--lr", "1e-3", "--out"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch with all its forks."""
    out = tmp_path_factory.mktemp("forked")
    assert command_line([*TRAIN, "--name", "a", "--out", str(out)]) == 0
    assert command_line([*ABLATE, str(out)]) == 0
    return out / "a"


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """A copy of its forks, to be spoilt."""
    made = tmp_path / "forks-a"
    made.mkdir()
    for path in (run.parent / "forks-a").iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    return made


def test_all_branches_start_from_one_flow_and_part(run: Path) -> None:
    found = ablation.read(run.parent / "forks-a")
    assert list(found) == list(ablation.VARIANTS)
    flow = snf.restore(run / "checkpoint.pt")
    test = snf.evaluate(flow, "digits").nats
    for made in found.values():
        assert made.steps == [0, 3]
        assert made.test_nats[0] == pytest.approx(test, rel=1e-12)
        assert made.weights == checkpoints.digest(flow.state_dict())
        assert made.command == f"python -m snf_lite ablate a --variant {made.branch} --steps 3 --lr 0.001 --seed 0"
        assert len(made.volume_errors[0]) == len(made.volume_errors[1]) == 2
    assert len({made.validation_nats[0] for made in found.values()}) == 1
    assert len({made.validation_nats[1] for made in found.values()}) == len(ablation.VARIANTS)


@pytest.mark.parametrize(("name", "weight"), [("own", 2.0), ("tenth", 0.2), ("tenfold", 20.0)])
def test_a_branch_is_what_its_factor_says(name: str, weight: float, run: Path) -> None:
    """Followed by hand from the same weights: Adam, the same batches, the schedule, λ as it should be."""
    flow, made = snf.restore(run / "checkpoint.pt"), ablation.read(run.parent / "forks-a")[name]
    layers: list[Any] = learned_inverse.learned_layers(flow)
    for layer in layers:
        layer.recon_weight = weight
    data, adam = snf.load("digits", "train"), torch.optim.Adam(flow.parameters())
    for step, share in enumerate((1.0, 0.75, 0.25)):  # a half cosine over three steps; a tenth of them is no step
        with snf.runtime.rng.isolated_rng("cpu", 0, "fork", step):
            x = data[torch.randint(len(data), (ablation.BATCH,))]
            adam.zero_grad()
            flow.loss(x).backward()
        adam.param_groups[0]["lr"] = 1e-3 * share
        adam.step()
    assert made.test_nats[1] == pytest.approx(snf.evaluate(flow, "digits").nats, abs=1e-3)


def test_a_branch_that_is_there_is_not_run_again(folder: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fork-exact.json").unlink()
    shutil.copytree(run, folder.parent / "a")
    followed = []

    def again(path: Path, name: str, *_: Any, **__: Any) -> ablation.AblationRecord:
        followed.append(name)
        return ablation.read(run.parent / "forks-a")[name]

    monkeypatch.setattr(ablation, "continue_run", again)
    assert command_line([*ABLATE, str(folder.parent)]) == 0
    assert followed == ["exact"]


def test_a_branch_that_leaves_the_finite_keeps_no_other_from_its_record(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "a")
    branches = {
        "own": ablation.Variant("λ without bounds", ablation.own_loss, 1e40),
        "exact": ablation.VARIANTS["exact"],
    }
    monkeypatch.setattr(ablation, "VARIANTS", branches)
    assert command_line([*ABLATE, str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "own: failed: " in shown.out and shown.err.endswith("1 of 2 variants failed: own.\n")
    assert list(ablation.read(tmp_path / "forks-a")) == ["exact"]


def test_altered_forks_are_noticed_even_when_sealed(folder: Path) -> None:
    manifest.write_index(folder.parent)
    assert manifest.check(folder.parent) == []
    path = folder / "fork-own.json"
    stored = json.loads(path.read_text("utf-8"))
    for key, value, words in (
        ("seed", 1, "share their seed"),
        ("test_nats", [1.0, None], "expected a number, got nothing"),
        ("branch", "exact", "expected the variant 'own', got 'exact'"),
    ):
        path.write_text(json.dumps({**stored, key: value}), "utf-8")
        assert any("altered" in problem for problem in manifest.check(folder.parent))
        with pytest.raises(ValueError, match=words):
            ablation.read(folder)


def test_what_cannot_be_forked_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a variant out of own, tenth, .*, got 'best'"):
        ablation.continue_run(run, "best")
    with pytest.raises(ValueError, match="expected steps to be"):
        ablation.continue_run(run, "own", steps=0)
    with pytest.raises(FileNotFoundError, match="there are no ablations"):
        ablation.read(tmp_path)
    for name, model in {"b": ["dense-exact"], "c": ["dense-selfnorm", "--set", "tolerance=1.0"]}.items():
        command_line(["train", *model, "--epochs", "1", "--name", name, "--out", str(tmp_path)])
        with pytest.raises(ValueError, match=rf"learns inverses, with a fixed λ, got .*{model[0]}"):
            ablation.continue_run(tmp_path / name, "own")


def test_a_variant_with_other_settings_leaves_the_records_as_they_are(
    folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, folder.parent / "a")
    before = (folder / "fork-own.json").read_bytes()
    assert command_line([*ABLATE, str(folder.parent), "--variant", "own", "--seed", "1"]) == 1
    assert "expected the settings of its variant 'own', 3 steps, lr 0.001 and seed 0" in capsys.readouterr().err
    assert (folder / "fork-own.json").read_bytes() == before


def test_the_folder_of_a_run_is_taken_as_well_as_its_name(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "a")
    assert command_line(["ablate", str(tmp_path / "a"), "--variant", "own", "--steps", "1"]) == 0
    assert (tmp_path / "forks-a" / "fork-own.json").exists()


def test_a_device_that_is_not_there_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line([*ABLATE, str(run.parent), "--variant", "own", "--device", "nowhere"])
    assert "nowhere" in capsys.readouterr().err
