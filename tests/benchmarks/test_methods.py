"""Every method of the benchmark computes what its docstring says: gradients, log-determinants, samples."""

import pytest
import torch
from bench_cases import CONV, DENSE, POINTWISE, method_of
from torch import Tensor

from snf_lite.benchmarks import models, suites, third_party
from snf_lite.benchmarks.operation_counts import count
from snf_lite.benchmarks.timing import Case, TimedCall, UnavailableError
from snf_lite.runtime.optional import MissingLibraryError

EXACT = [
    *((DENSE, name) for name in ("lu", "exact", "slogdet", *third_party.DENSE)),
    *((CONV, name) for name in ("exact", "exact-dense")),
    *((POINTWISE, name) for name in ("exact", *third_party.POINTWISE)),
]


def ready(case: Case, name: str) -> TimedCall:
    """The step with its parameters far from the identity; a triangle's zeros stay zero."""
    try:
        step = method_of(case, name)(case)
    except MissingLibraryError as reason:
        pytest.skip(str(reason))
    torch.manual_seed(0)
    with torch.no_grad():
        for leaf in step.leaves[1:]:
            where = torch.ones_like(leaf) if leaf.dim() == 1 else (leaf != 0).to(leaf)
            leaf.add_(0.3 * torch.randn_like(leaf) * where)
    return step


def share_parameters(one: TimedCall, other: TimedCall) -> None:
    with torch.no_grad():
        for mine, theirs in zip(one.leaves, other.leaves, strict=True):
            mine.copy_(theirs)


def jacobian(step: TimedCall) -> Tensor:
    """Of a map z = J x + b: what it does to the unit vectors, differentiable by its parameters."""
    x = step.leaves[0]
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    assert step.surrogate is not None
    moved = step.surrogate(torch.cat([units, torch.zeros_like(units[:1])]))[0].flatten(1)
    return (moved[:-1] - moved[-1]).T


def assert_all_close(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("case", "name"), EXACT, ids=lambda value: value if isinstance(value, str) else value.suite)
def test_an_exact_method_has_the_log_determinant_of_its_jacobian_and_that_gradient(case: Case, name: str) -> None:
    step = ready(case, name)
    assert step.surrogate is not None
    z, log_det, _ = step.surrogate(step.leaves[0])
    true = torch.linalg.slogdet(jacobian(step)).logabsdet
    torch.testing.assert_close(log_det, true.expand(case.batch))
    loss = (0.5 * z.flatten(1).square().sum(1)).mean() - true
    assert_all_close(step.run(), torch.autograd.grad(loss, step.leaves))


@pytest.mark.parametrize("case", [DENSE, CONV, POINTWISE])
def test_two_passes_leave_the_gradients_of_the_fused_step(case: Case) -> None:
    fused, two = ready(case, "selfnorm"), ready(case, "selfnorm-two-pass")
    share_parameters(two, fused)
    assert_all_close(two.run(), fused.run())


def test_the_relative_method_leaves_the_exact_gradient_times_its_gram_matrix() -> None:
    relative, exact = ready(DENSE, "relative"), ready(DENSE, "exact")
    share_parameters(relative, exact)
    weight = exact.leaves[1].detach()
    x, W, b = exact.run()
    assert_all_close(relative.run(), (x, W @ weight.T @ weight, b))


def test_the_tracked_method_leaves_the_exact_gradient() -> None:
    tracked, exact = ready(DENSE, "tracked"), ready(DENSE, "exact")
    share_parameters(tracked, exact)
    for _ in range(4):  # the last of ten steps of a call brings R closer
        found = tracked.run()
    assert_all_close(found, exact.run())


@pytest.mark.parametrize("name", ["unbiased", "unbiased-batch"])
def test_the_unbiased_method_leaves_the_exact_gradient_in_the_mean(name: str) -> None:
    unbiased, exact = ready(CONV, name), ready(CONV, "exact")
    x, weight, bias, inverse = unbiased.leaves
    with torch.no_grad():
        for leaf, other in zip((x, weight, bias), exact.leaves, strict=True):
            leaf.copy_(other)
            leaf.div_(1 if leaf is x else 8)
            other.copy_(leaf)
        weight[:, :, 1, 1] += torch.eye(2)
        inverse.copy_(weight.flip(2, 3).transpose(0, 1)).mul_(0.7)
        exact.leaves[1].copy_(weight)
    wanted, runs = exact.run(), [unbiased.run() for _ in range(400)]
    for index in (0, 2):
        torch.testing.assert_close(runs[0][index], wanted[index])
    drawn = torch.stack([run[1] for run in runs])
    error = (drawn.mean(0) - wanted[1]) / (drawn.std(0) / 20)
    assert drawn.std(0).min() > 0 and error.abs().max() < 4.5


@pytest.mark.parametrize(("case", "name"), [(DENSE, "linear"), (CONV, "conv2d"), (POINTWISE, "conv2d")])
def test_the_baseline_leaves_the_gradients_of_the_energy_alone(case: Case, name: str) -> None:
    step = ready(case, name)
    assert step.surrogate is not None
    energy = 0.5 * step.surrogate(step.leaves[0])[0].square().sum() / case.batch
    assert_all_close(step.run(), torch.autograd.grad(energy, step.leaves))


def test_a_determinant_is_the_same_by_blocks_and_from_the_dense_matrix() -> None:
    case = Case("logdet", (2, 4, 3), 0, kernel_size=3)
    banded, dense = (suites.LOG_DET[name](case) for name in ("block-banded", "dense-matrix"))
    (got,), (wanted,) = banded.run(), dense.run()
    torch.testing.assert_close(got, wanted)
    gaussian = suites.LOG_DET["block-banded-gaussian"](case).leaves[0]
    assert gaussian.std() > 0.5 and gaussian[0, 1].abs().max() > 0.5 > banded.leaves[0][0, 1].abs().max()


@pytest.mark.parametrize("case", [
    Case("sampling", (5,), 4), Case("sampling", (2, 3, 4), 4, kernel_size=3),
    Case("sampling", (1, 4, 4), 4, model="conv-selfnorm"),
])  # fmt: skip
def test_samples_are_inverses_of_the_same_latents(case: Case) -> None:
    steps = {name: method(case) for name, method in suites.SAMPLING.items()}
    samples = {name: step.run() for name, step in steps.items()}
    assert {name: (step.per, len(samples[name])) for name, step in steps.items()} == {
        "learned": (4, 4), "learned-single": (1, 1), "exact": (4, 4), "exact-fresh": (4, 4), "exact-single": (1, 1),
        "exact-single-fresh": (1, 1),
    }  # fmt: skip
    for kind, whole in (("learned-single", "learned"), ("exact-single", "exact"), ("exact-single-fresh", "exact")):
        torch.testing.assert_close(samples[kind], samples[whole][:1])
    assert not torch.equal(samples["learned"], samples["exact"])


def test_only_a_fresh_solve_factorizes() -> None:
    case = Case("sampling", (5,), 4)
    solvers = {}
    for name, method in suites.SAMPLING.items():
        step = method(case)
        solvers[name] = "linalg_lu_factor_ex" in count(step.run).solvers
    assert [name for name, factorises in solvers.items() if factorises] == ["exact-fresh", "exact-single-fresh"]


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_plain_network_is_the_model_without_log_determinants(kind: str) -> None:
    case = Case("models", (1, 4, 4), 3, model=kind)
    counted = {name: count(method(case).run) for name, method in models.TABLES[kind].items()}
    plain, selfnorm = counted["plain"], counted[f"{kind}-selfnorm"]
    assert plain.products == {"dense": 5, "conv": 26}[kind] and not plain.solvers
    assert selfnorm.products == {"dense": 12, "conv": 54}[kind] and not selfnorm.solvers
    assert counted[f"{kind}-exact"].solvers["linalg_lu_factor_ex"] > 0


def test_a_tracked_model_is_timed_over_as_many_steps_as_lie_between_updates() -> None:
    case = Case("models", (1, 4, 4), 3, model="dense")
    step = models.TABLES["dense"]["dense-tracked"](case)
    assert step.steps == 10 and models.TABLES["dense"]["dense-exact"](case).steps == 1
    counted = count(step.run)
    assert counted.products == 10 * 6 + 2 * 2 and not counted.solvers
    assert counted.divided(10).products == 6.4


def test_a_step_in_bf16_has_the_gradients_of_the_eager_one_but_for_rounding() -> None:
    case = Case("models", (1, 4, 4), 3, model="dense")
    method = models.TABLES["dense"]["dense-selfnorm"]
    ends = {}
    for name, how in (("eager", method), ("bf16", models.by("bf16", "dense-selfnorm", method))):
        step = how(case)
        step.run()
        ends[name] = torch.cat([leaf.grad.flatten() for leaf in step.leaves[1:] if leaf.grad is not None])
    error = (ends["bf16"] - ends["eager"]).norm() / ends["eager"].norm()
    assert 1e-5 < error < 0.05


def test_a_graph_is_captured_after_eager_steps_and_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    graphed = models.by("graph", "dense-exact", models.TABLES["dense"]["dense-exact"])
    with pytest.raises(UnavailableError, match="needs a CUDA device, got cpu"):
        graphed(Case("models", (1, 4, 4), 3, model="dense"))
    done: list[str] = []
    monkeypatch.setattr(models, "captured", lambda work: done.append("captured") or work)
    models._graph(lambda: done.append("step"))()
    assert done == ["step"] * 3 + ["captured", "step"]

    def refuse(work: object) -> None:
        raise ValueError("fit: this flow's step cannot be recorded as a CUDA graph (a factorization)")

    monkeypatch.setattr(models, "captured", refuse)
    with pytest.raises(UnavailableError, match="cannot be recorded"):
        models._graph(lambda: None)


def test_on_a_gpu_whole_models_are_also_timed_as_graphs_and_in_bf16() -> None:
    names = {
        device: {
            name for one in suites.model_suite(suites.SuiteOptions(device=torch.device(device))) for name in one.methods
        }
        for device in ("cpu", "cuda")
    }
    assert names["cuda"] - names["cpu"] == {f"{name}-{how}" for name in names["cpu"] for how in ("graph", "bf16")}
