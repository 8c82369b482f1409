"""The study of the gap: its layers against the formula, its theory against the layers, its record."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from round_trips import close
from snf_book.beyond import __main__ as command
from snf_book.beyond import line, study
from snf_book.beyond.layers import SUBSTITUTES, BetweenLinear, ScaledWhiten
from snf_book.beyond.switches import Switches, draw_switches, switches, title
from torch import Tensor

from snf_lite.analysis.figures import BLUE, GREY, ORANGE
from snf_lite.dense import ExactLinear, SelfNormLinear
from snf_lite.runtime.records import RecordError

D, LAMBDA = 3, 0.7


def between(**options: Any) -> BetweenLinear:
    """A layer in float64 at random parameters, R far from the inverse."""
    torch.manual_seed(5)
    layer = BetweenLinear(D, recon_weight=LAMBDA, **options).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def gradients(layer: Any, x: Tensor, pull: Tensor) -> dict[str, Tensor]:
    """Those of Σ_b pull·z − term + penalty, the ones to descend."""
    z, term, penalty = layer.surrogate(x)
    loss = (pull * z).sum() - term.sum() + (0 if penalty is None else penalty.sum())
    names, parameters = zip(*layer.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, [*parameters, x], allow_unused=True)
    return dict(zip([*names, "x"], found, strict=True))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(6)
    return torch.randn(4, D, dtype=torch.float64, requires_grad=True), torch.randn(4, D, dtype=torch.float64)


@pytest.mark.equation("eq-between")
@pytest.mark.parametrize("likelihood", [True, False])
@pytest.mark.parametrize("penalized", [True, False])
@pytest.mark.parametrize("substitute", SUBSTITUTES)
def test_the_gradients_follow_the_formula(
    substitute: str, penalized: bool, likelihood: bool, batch: tuple[Tensor, Tensor]
) -> None:
    layer, (x, pull) = between(substitute=substitute, weight_penalized=penalized, likelihood=likelihood), batch
    W, R, h = layer.weight.detach(), layer.inverse_weight.detach(), x.detach()
    replaced = between(substitute=substitute).substituted()  # the first probe of an equal layer
    got, delta, miss = gradients(layer, x, pull), -pull, h @ W.T @ R.T - h
    by_W = 0.5 * (delta.T @ h + len(h) * replaced) - penalized * 2 * LAMBDA * R.T @ miss.T @ h
    by_R = likelihood * 0.5 * (-(delta @ W).T @ h @ W.T - len(h) * W.T) - 2 * LAMBDA * miss.T @ h @ W.T
    close(-got["weight"], by_W, 1e-12)
    close(-got["inverse_weight"], by_R, 1e-12)
    close(-got["bias"], delta.sum(0), 1e-12)
    close(-got["x"], delta @ W, 1e-12)


def test_its_ends_are_the_layers_of_the_package(batch: tuple[Tensor, Tensor]) -> None:
    x, pull = batch
    layer, paper, exact = between(), SelfNormLinear(D, LAMBDA).double(), ExactLinear(D).double()
    paper.load_state_dict(layer.state_dict())
    for name, gradient in gradients(paper, x, pull).items():
        close(gradients(layer, x, pull)[name], gradient, 1e-12)
    free = between(substitute="exact", weight_penalized=False, likelihood=False)
    exact.load_state_dict({"weight": free.weight.detach(), "bias": free.bias.detach()})
    close(2 * gradients(free, x, pull)["weight"], gradients(exact, x, pull)["weight"], 1e-10)


def test_the_correction_has_the_mean_of_the_exact_inverse_and_leaves_the_noise_of_the_data() -> None:
    layer = between(substitute="corrected")
    state = torch.get_rng_state()
    drawn = torch.stack([layer.substituted() for _ in range(2000)])
    assert torch.equal(torch.get_rng_state(), state)
    off = drawn.mean(0) - torch.linalg.inv(layer.weight).T.detach()
    assert (off.abs() <= 4 * drawn.std(0) / 2000**0.5 + 1e-12).all() and drawn.std(0).max() > 0.1


def test_an_unknown_substitute_is_refused() -> None:
    with pytest.raises(ValueError, match="expected substitute out of exact, learned, corrected, got 'none'"):
        BetweenLinear(2, "none")


@pytest.mark.equation("eq-dragged")
@pytest.mark.parametrize("penalized", [True, False])
@pytest.mark.parametrize(("mean_square", "weight"), [(0.3, 0.4), (1.0, 2.0), (5.0, 0.1)])
def test_the_rates_are_those_of_the_layer_on_the_line(mean_square: float, weight: float, penalized: bool) -> None:
    """From the Jacobian of its ascent directions at the optimum, w = 1/√m and r = √m; x² = m for each x."""
    layer = BetweenLinear(1, "exact", penalized, likelihood=False, recon_weight=weight).double()
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64) * mean_square**0.5

    def ascent(point: Tensor) -> Tensor:
        for parameter, value in zip((layer.weight, layer.inverse_weight), point, strict=True):
            parameter.data.fill_(float(value))
        z, term, penalty = layer.surrogate(x)
        loss = (0.5 * z.square().sum(1) - term + penalty).mean()
        return -torch.stack(torch.autograd.grad(loss, (layer.weight, layer.inverse_weight))).flatten()

    best = torch.tensor([mean_square**-0.5, mean_square**0.5], dtype=torch.float64)
    close(ascent(best), torch.zeros(2).double(), 1e-12)  # no force at the optimum, whatever λ
    steps = 1e-5 * torch.eye(2, dtype=torch.float64)
    jacobian = torch.stack([(ascent(best + step) - ascent(best - step)) / 2e-5 for step in steps], 1)
    found = sorted(-torch.linalg.eigvals(jacobian).real.numpy())
    slow, fast = line.rates(mean_square, weight)
    assert found == pytest.approx([slow, fast] if penalized else sorted((mean_square, 2 * weight)), rel=1e-5)


def test_a_large_penalty_drags_the_inverse_along() -> None:
    assert line.rates(4.0, 1e6)[0] == pytest.approx(4 / 17, rel=1e-4)
    assert line.rates(4.0, 0.0) == (0.0, 4.0)


@pytest.mark.equation("eq-shared-inverse")
@pytest.mark.parametrize("weight", [1e-3, 0.3, 20.0])
def test_at_rest_nothing_pulls_on_weights_that_share_an_inverse(weight: float) -> None:
    m = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)
    w, r = line.shared_inverse(m, weight)
    w, shared = w.requires_grad_(), torch.tensor(r, dtype=torch.float64, requires_grad=True)
    penalty = weight * (m * (shared * w - 1) ** 2).sum()
    (by_w,) = torch.autograd.grad(0.5 * (w.log() - 0.5 * m * w**2).sum() - penalty, w, retain_graph=True)
    (by_r,) = torch.autograd.grad(penalty, shared)
    close(torch.cat([by_w, by_r[None]]), torch.zeros(4).double(), 1e-9)


def test_the_excess_is_the_difference_of_the_likelihoods() -> None:
    m = torch.tensor([0.5, 4.0], dtype=torch.float64)
    best = m.rsqrt()
    assert float(line.excess(best, m)) == pytest.approx(0)
    w = torch.tensor([1.0, 0.7], dtype=torch.float64)
    nats = [float((0.5 * m * v**2 - v.log()).sum()) for v in (w, best)]
    assert float(line.excess(w, m)) == pytest.approx(nats[0] - nats[1])
    w = line.shared_inverse(m, 1e6)[0]
    assert float(line.excess(w, m)) == pytest.approx(-0.5 * math.log(0.5 * 4.0 / 2.25**2), rel=1e-4)


def test_all_variants_of_a_seed_start_alike_and_another_seed_does_not() -> None:
    flows = {name: study.model(name, 3) for name in study.VARIANTS}
    first = flows["exact"].layers[-1].weight
    assert all(torch.equal(flow.layers[-1].weight, first) for flow in flows.values())
    assert not torch.equal(study.model("exact", 4).layers[-1].weight, first)
    seeds = [layer.seed for layer in flows["alone-corrected"].layers if isinstance(layer, BetweenLinear)]
    assert seeds == [6, 7]


@pytest.mark.parametrize("centered_only", [False, True])
def test_a_scaled_whitening_sets_how_large_the_input_is(centered_only: bool) -> None:
    torch.manual_seed(7)
    x = 3 + torch.randn(200, D, dtype=torch.float64) @ torch.randn(D, D, dtype=torch.float64)
    layer = ScaledWhiten(D, 2.5, centered_only).double()
    layer.initialise(x, whiten=False)
    z, log_det = layer(x)
    wanted = torch.cov(x.T) if centered_only else torch.eye(D).double()
    close(z.mean(0), torch.zeros(D).double(), 1e-9)
    close(torch.cov(z.T), 2.5**2 * wanted, 1e-9)
    close(layer.inverse(z), x, 1e-9)
    close(log_det[0], torch.linalg.slogdet(layer.weight).logabsdet, 1e-9)


def test_a_study_takes_another_layer_in_front() -> None:
    flow = study.model("both-exact", 0, front=lambda features: ScaledWhiten(features, 2.0))
    (front,) = (layer for layer in flow.layers if isinstance(layer, ScaledWhiten))
    assert flow.is_fresh and front.factor == 2.0 and len(flow.layers) == len(study.model("paper", 0, True).layers)


def test_each_variant_is_named_after_the_differences_that_are_on() -> None:
    for name, variant in study.VARIANTS.items():
        if variant.layer is BetweenLinear:
            on, options = switches(name), variant.options
            wanted = options["substitute"] != "exact", options["weight_penalized"], options["likelihood"]
            assert tuple(on) == wanted
    assert tuple(switches("paper")) == (True, True, True) and tuple(switches("exact")) == (False, False, False)
    titles = [title(name) for name in study.VARIANTS]
    assert len(set(titles)) == len(titles)
    assert {"exact twin", "all three (the paper)", "substitution + pull", "none"} <= set(titles)


@pytest.mark.parametrize("likelihood", [True, False])
@pytest.mark.parametrize("pull", [True, False])
@pytest.mark.parametrize("substitution", [True, False])
def test_a_line_is_drawn_in_color_where_its_switch_is_on(substitution: bool, pull: bool, likelihood: bool) -> None:
    of_W, of_R = draw_switches(Switches(substitution, pull, likelihood)).axes
    drawn_W, drawn_R = ({line.get_color() for line in axes.lines} for axes in (of_W, of_R))
    assert (ORANGE in drawn_W) is not substitution
    assert (BLUE in drawn_W) is (substitution or pull)
    assert (BLUE in drawn_R) is likelihood and (GREY in drawn_R) is not likelihood
    raised = [line for line in of_W.lines if line.get_ydata()[-1] == pytest.approx(1.8)]
    assert len(raised) == (not pull)  # the end of an open lever


def test_the_command_writes_a_record_and_continues_an_unfinished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, int]] = []

    def train(name: str, seed: int, **settings: Any) -> dict[str, Any]:
        if len(calls) == 5:
            calls.append(("stopped", 0))
            raise KeyboardInterrupt
        calls.append((name, seed))
        errors = {} if name == "exact" else {"errors": 0.1}
        return {"nats": 100.0 + seed * (name != "exact"), **errors, "best_epochs": 1, "validation": [101.0, 100.0]}

    monkeypatch.setattr(study, "train", train)
    words = ["--seeds", "2", "--epochs", "10", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        command.main(words)
    command.main(words)
    assert len(calls) == len(set(calls)) == 2 * len(study.VARIANTS) + 1
    made = study.read(tmp_path / study.FILE)
    assert made.command == "python -m snf_book.beyond --seeds 2 --epochs 10 --lr 0.001"
    assert made.difference("paper") == (0.5, 0.5) and made.mean("paper") == 100.5
    assert [path.name for path in tmp_path.iterdir()] == [study.FILE]
    assert "9 variants, 2 seeds" in capsys.readouterr().out


def test_one_epoch_of_a_variant_gives_its_entry() -> None:
    found = study.train("alone-corrected", 0, epochs=1, lr=1e-3, every=1)
    assert set(found) == set(study.VariantEntry.__annotations__)
    assert found["validation"][1] < found["validation"][0] and 0 < found["errors"] < 1
    assert "errors" not in study.train("exact", 0, epochs=1, lr=1e-3)


@pytest.mark.parametrize("change", ["a value", "an epoch", "a variant"])
def test_a_record_with_something_missing_is_refused(change: str, tmp_path: Path) -> None:
    runs = {
        study.run_name(name, seed): {"nats": 1.0, "errors": 0.0, "best_epochs": 1, "validation": [2.0]}
        for name in study.VARIANTS for seed in (0, 1)
    }  # fmt: skip
    for seed in (0, 1):
        runs[study.run_name("exact", seed)].pop("errors")
    variants = study.gathered(runs, [0, 1])
    if change == "a value":
        variants["paper"]["nats"].pop()
    elif change == "an epoch":
        variants["paper"]["validation"][1].append(1.0)
    else:
        variants.pop("tracked")
    stored = {
        "format": 2, "kind": "gap", "command": "", "package": {"version": "1", "commit": None, "dirty": None},
        "libraries": {}, "device": "", "threads": 1, "date": "", "seconds": 1.0, "seeds": [0, 1], "epochs": 1,
        "lr": 1e-3, "front": False, "data": {}, "variants": variants,
    }  # fmt: skip
    (tmp_path / study.FILE).write_text(json.dumps(stored), "utf-8")
    with pytest.raises(RecordError, match=r"differ in number|expected the variants"):
        study.read(tmp_path / study.FILE)
