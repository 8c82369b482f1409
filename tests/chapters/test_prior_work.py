"""Prior work: the claims of each system against its Jacobian and its integral; the record; what the chapter shows."""

import copy
import importlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from paths import ROOT
from snf_book.measured import number
from snf_book.plane import Plane
from snf_book.prior_work import __main__ as command
from snf_book.prior_work import compare, figures, measures, record, verification
from snf_book.prior_work.flows.integer_flow import IntegerFlow
from snf_book.prior_work.flows.integer_model import CELLS, LatticeModel
from snf_book.prior_work.flows.root_finding import newton_inverse
from snf_book.prior_work.flows.sylvester import Sylvester
from snf_book.prior_work.model import FlowModel, Model, Reverse, between
from snf_book.prior_work.system import INVERSES, System
from snf_book.prior_work.systems import EIGHTEEN, SYSTEMS, system_named
from snf_book.prior_work.third_party import LIBRARIES, library
from snf_book.prior_work.training import Budget, fit, points, true_log_prob
from torch import Tensor, nn

from snf_lite.analysis.jacobian import latent_and_jacobian
from snf_lite.experiments.archive import record_dir
from snf_lite.runtime.records import write_record

NAMED = [
    "NICE", "Real NVP", "IAF", "MAF", "Glow", "NAF", "B-NAF", "Flow++", "sum-of-squares polynomial", "neural spline",
    "residual flows", "i-ResNet", "Sylvester", "radial", "planar", "emerging convolutions", "integer discrete flows",
    "convolution exponential",
]  # fmt: skip
EACH_SYSTEM = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
TRAINED: dict[str, Model] = {}
#: Half the side of the square that holds the mass of a model that has learned little yet, where 5 is too small.
WIDE = {"Flow++": 12.0}


def here(name: str) -> None:
    """Skip where a library is not installed."""
    if name in LIBRARIES:
        pytest.importorskip(name, reason=f"{name} is not installed: pip install snf-lite[prior]")


def briefly_trained(system: System) -> Model:
    """After a few steps, in float64; trained once for all tests."""
    here(system.library)
    if system.name not in TRAINED:
        model = system.plane(0)
        fit(model, model.loss, points(2000, 0), 0, Budget(12, 64, 3e-3), model.after_step)
        TRAINED[system.name] = model.double()
    return TRAINED[system.name]


@pytest.fixture(scope="module")
def stored() -> Path:
    return record_dir("prior-work") / record.FILE


@pytest.fixture(scope="module")
def measured(stored: Path) -> dict[str, Any]:
    return record.read(stored)


# ---- the systems -----------------------------------------------------------------------------------------------------


def test_the_eighteen_are_those_that_the_talk_names() -> None:
    assert sorted(system.name for system in EIGHTEEN) == sorted(NAMED)
    assert [system.name for system in SYSTEMS[18:]] == ["self-normalizing flow", "its exact twin"]
    assert {system.inverse for system in SYSTEMS} <= set(INVERSES)
    assert all(system.paper.startswith("https://arxiv.org/abs/") for system in SYSTEMS)
    assert all(system.gives_up.endswith(".") for system in SYSTEMS)


def test_an_unknown_system_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"NICE, planar.*got 'nobody'"):
        system_named("nobody")


def test_a_models_steps_are_updated_after_each_step_of_training() -> None:
    class Counted(Reverse):
        updates = 0

        def after_step(self) -> None:
            self.updates += 1

    model = Model([Counted(), Reverse()])
    model.after_step()
    assert model.steps[0].updates == 1


@EACH_SYSTEM
def test_the_claimed_log_determinant_is_the_jacobians(system: System) -> None:
    model = copy.deepcopy(briefly_trained(system))
    if isinstance(model, LatticeModel):
        return  # it has no Jacobian; its sum over the lattice is tested below
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim():
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.after_step()
    assert measures.log_det_error(model, torch.randn(20, 2, dtype=torch.float64)) < 1e-6


@EACH_SYSTEM
@pytest.mark.parametrize("when", ["fresh", "briefly trained"])
def test_the_density_integrates_to_one(system: System, when: str) -> None:
    trained = briefly_trained(system)
    model = trained if when == "briefly trained" else system.plane(0).double().eval()
    side = WIDE.get(system.name, 5.0)
    assert measures.integral(model, side=side, cells=round(26 * side)) == pytest.approx(1, abs=0.02)


@EACH_SYSTEM
def test_samples_follow_the_density(system: System) -> None:
    side = WIDE.get(system.name, 5.0)
    model, grid = briefly_trained(system), Plane(side, round(22 * side))
    torch.manual_seed(1)
    drawn = model.sample(200)
    assert drawn.shape == (200, 2) and drawn.isfinite().all()
    log_prob = torch.cat([model.log_prob(part).detach() for part in grid.points.double().split(4000)])
    expected = float((log_prob.exp() * log_prob.clamp_min(-700)).sum() * grid.step**2)
    found = model.log_prob(drawn).detach()
    assert abs(float(found.mean()) - expected) < 5 * float(found.std()) / 200**0.5 + 0.03


@EACH_SYSTEM
def test_a_code_comes_back_to_its_event(system: System) -> None:
    model, x = briefly_trained(system), points(50, 3).double()
    if isinstance(model, LatticeModel):
        cells = model.cells(x)
        assert torch.equal(model.flow.inverse(model.flow.code(cells)), cells)
    else:
        assert torch.allclose(model.back(model.code(x).detach()), x, atol=2e-2)  # normflows stops its iteration early


def test_the_lattice_holds_all_of_its_probability() -> None:
    model = LatticeModel(IntegerFlow((2,), CELLS, couplings=2)).double()
    cells = torch.cartesian_prod(torch.arange(-40, 80), torch.arange(-40, 80))
    assert float(model.flow.log_prob(cells).detach().exp().sum()) == pytest.approx(1, abs=1e-3)
    corner = torch.tensor([[-2.5, 2.5]], dtype=torch.float64)
    assert model.cells(corner).tolist() == [[0, 31]]
    assert torch.allclose(model.log_prob(corner) + math.log(model.area), model.flow.log_prob(model.cells(corner)))


def test_the_truth_is_the_density_of_the_points() -> None:
    grid = Plane(4.0, 200)
    assert grid.integral(true_log_prob(grid.points).exp()) == pytest.approx(1, abs=1e-3)
    assert float(points(4000, 0).norm(dim=1).mean()) == pytest.approx(1.4, abs=0.05)


# ---- the parts -------------------------------------------------------------------------------------------------------


def test_steps_in_a_row_add_their_log_determinants_and_go_back() -> None:
    torch.manual_seed(0)
    model = Model(between([Sylvester(2, 1), Sylvester(2, 2)])).double()
    assert [type(step) for step in model.steps] == [Sylvester, Reverse, Sylvester]
    x = torch.randn(30, 2, dtype=torch.float64)
    assert measures.log_det_error(model, x) < 1e-12
    assert torch.allclose(model.back(model.code(x).detach()), x, atol=1e-8)


def test_newtons_inverse_says_when_there_is_none() -> None:
    def bounded(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(x), x.new_zeros(len(x))

    with pytest.raises(ArithmeticError, match="within 1e-09 of z, got an error of"):
        newton_inverse(bounded, torch.full((1, 2), 2.0, dtype=torch.float64))


@pytest.mark.equation("eq-lattice")
def test_an_integer_flow_moves_the_probabilities_of_its_prior() -> None:
    torch.manual_seed(4)
    flow = IntegerFlow((2,), 9, couplings=2, width=8, components=1).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randint(0, 9, (20, 2))
    z, scale = flow.code(x).double(), flow.log_scales[:, 0].exp()
    upper, lower = ((z + half - flow.means[:, 0]) / scale for half in (0.5, -0.5))
    wanted = (upper.sigmoid() - lower.sigmoid()).log().sum(1)
    assert torch.allclose(flow.log_prob(x), wanted, atol=1e-9) and not torch.equal(z.long(), x)


def test_a_pattern_has_rows_for_codes_and_columns_for_events() -> None:
    def code(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], 3 * x[:, 0] - 2 * x[:, 1]], 1)

    x = torch.randn(10, 2, dtype=torch.float64)
    assert measures.pattern(code, x).tolist() == [[1, 0], [3, 2]]
    assert measures.lattice_pattern(code, x.round()).tolist() == [[1, 0], [3, 2]]
    assert latent_and_jacobian(code, x)[1].shape == (10, 2, 2)


def test_a_missing_library_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ModuleNotFoundError, match=r"zuko is not installed: pip install snf-lite\[prior\]"):
        library("zuko")


def test_the_package_imports_none_of_the_libraries() -> None:
    for name in [name for name in sys.modules if name.startswith("snf_book.prior_work")]:
        source = Path(str(importlib.import_module(name).__file__)).read_text("utf-8")
        assert not any(f"import {other}" in source or f"from {other}" in source for other in LIBRARIES), name


# ---- published code --------------------------------------------------------------------------------------------------


def of(code: str, name: str) -> verification.Candidate:
    here(name)
    found = [one for one in verification.CANDIDATES if one.library == name and one.code.startswith(code)]
    return found[0]


def test_a_wrong_log_determinant_is_found() -> None:
    found = verification.examine(of("Sylvester", "pyro"), cells=(60, 90))
    assert found["log_det_error"] > 0.01 and "log|det| is off" in verification.fault(found)


def test_a_density_that_is_none_is_found() -> None:
    found = verification.examine(of("BlockAutoregressive", "pyro"), cells=(60, 90))
    assert found["log_det_error"] < 1e-6 and verification.fault(found).startswith("it integrates to 0.0")


def test_right_code_is_left_in_peace() -> None:
    found = verification.examine(of("Planar", "normflows"), cells=(60, 90))
    assert verification.fault(found) == "" and found["round_trip"] is None


@pytest.mark.parametrize(
    ("integrals", "wrong"),
    [([], False), ([0.9, 0.9], True), ([0.9, 0.99], False), ([0, 0], False), ([1, 1.001], False)],
)
def test_only_grids_that_agree_say_that_mass_is_missing(integrals: list[float], wrong: bool) -> None:
    assert verification.mass_is_missing(integrals) is wrong


# ---- the record ------------------------------------------------------------------------------------------------------


def test_the_record_has_all_and_every_integral_is_near_one(measured: dict[str, Any]) -> None:
    assert list(record.eighteen_of(measured)) == [system.name for system in EIGHTEEN]
    off = {name for name, entry in measured["systems"].items() if record.off_by(entry)}
    assert off == set(), f"integrals farther than 2 % from 1: {off}"
    assert set(LIBRARIES) <= set(measured["libraries"])
    errors = [entry["plane"]["log_det_error"] for entry in measured["systems"].values()]
    assert max(error for error in errors if error is not None) < 1e-6


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, Change] = {
    "MAF: the sum of its image does not match": lambda r: r["systems"]["MAF"]["plane"].update(integral=0.8),
    "expected the systems": lambda r: r["systems"].pop("planar"),
    "'NAF'., plane: missing or unknown are integral": lambda r: r["systems"]["NAF"]["plane"].pop("integral"),
    "'Glow'., digits: missing or unknown are nats": lambda r: r["systems"]["Glow"]["digits"].pop("nats"),
    "no digits sample has the ratio 1": lambda r: [
        entry["digits"]["ratios"].update(sample=3.0) for entry in r["systems"].values() if entry["digits"]
    ],
}  # fmt: skip


@pytest.mark.parametrize("words", CHANGES)
def test_an_altered_record_is_refused(stored: Path, tmp_path: Path, words: str) -> None:
    changed = json.loads(stored.read_text("utf-8"))
    CHANGES[words](changed)
    (tmp_path / "prior.json").write_text(json.dumps(changed), "utf-8")
    with pytest.raises(ValueError, match=words):
        record.read(tmp_path / "prior.json")


def test_a_record_comes_back(tmp_path: Path, measured: dict[str, Any]) -> None:
    write_record(record.PriorRecord(**measured), tmp_path / "prior.json")
    assert record.read(tmp_path / "prior.json") == measured
    assert (tmp_path / "prior.json").stat().st_size < 300_000
    with pytest.raises(FileNotFoundError, match="no such prior-work record"):
        record.read(tmp_path / "nothing.json")


def test_pictures_are_stored_but_for_their_rounding() -> None:
    values = torch.rand(8, 8, dtype=torch.float64)
    back = record.decoded(record.encoded(values, 1.0), 1.0, (8, 8))
    assert torch.allclose(back, values, atol=5e-3)
    with pytest.raises(ValueError, match="expected 81 bytes"):
        record.decoded(record.encoded(values, 1.0), 1.0, (9, 9))


def test_a_measurement_holds_what_the_reader_wants(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(compare, "PLANE", Budget(3, 32, 1e-3))
    monkeypatch.setattr(compare, "DIGITS", Budget(2, 20, 1e-3))
    monkeypatch.setattr(measures, "CELLS", 40)
    entries = {"self-normalizing flow": compare.measure(system_named("self-normalizing flow"), 0)}
    for part, wanted in (("plane", record.PlaneEntry), ("digits", record.DigitsEntry)):
        record.with_ratios(entries, part)
        assert set(entries["self-normalizing flow"][part]) == set(wanted.__annotations__)
    print(compare.summary(entries["self-normalizing flow"]))
    assert "integral" in capsys.readouterr().out


def test_the_command_writes_what_its_reader_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: dict[str, Any], capsys: Any
) -> None:
    parts = ("truth", "systems", "candidates", "impostor", "series")
    kept = {part: measured[part] for part in parts}
    asked: list[list[str]] = []
    monkeypatch.setattr(command, "compare", lambda names, seed, say: asked.append(names) or kept)
    command.main(["--only", "MAF", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())
    command.main(["--out", str(tmp_path)])
    again = record.read(tmp_path / record.FILE)
    assert asked == [["MAF"], [system.name for system in SYSTEMS]]
    assert again["systems"] == measured["systems"] and "20 systems" in capsys.readouterr().out
    assert again["data"]["plane"]["train_sha256"] == measured["data"]["plane"]["train_sha256"]


def test_the_chapters_tables_are_the_records(measured: dict[str, Any]) -> None:
    notebook = nbformat.read(ROOT / "book" / "prior-work.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "\n".join(output.get("data", {}).get("text/plain", "") for output in outputs)
    for system in SYSTEMS:
        plane = measured["systems"][system.name]["plane"]
        rows = [line for line in printed.splitlines() if line.startswith(f"{system.name} ")]
        assert any(number(plane["log_prob"], ".2f") in row and str(system.year) in row for row in rows), system.name
        assert any(number(plane["integral"], ".3f") in row and f"{plane['parameters']:,d}" in row for row in rows)


def test_a_row_of_the_likelihoods_has_the_mean_and_deviation_over_seeds(measured: dict[str, Any]) -> None:
    run = {"steps": 3000, "log_prob": -1.5}
    longer = [{"systems": {"MAF": run, "NAF": run}}, {"systems": {"MAF": {**run, "log_prob": -1.7}}}]
    values = {name: [run["log_prob"] for run in figures.runs_of(longer, name)] for name in ("MAF", "NAF", "planar")}
    assert values == {"MAF": [-1.5, -1.7], "NAF": [-1.5], "planar": []}
    assert next(figures.likelihood_rows(measured)) == ["NICE", "2014", measured["systems"]["NICE"]["plane"]["log_prob"]]
    everything = [{"systems": {name: run for name in figures.names()}}, longer[1]]
    rows = {row[0]: row[3:] for row in figures.likelihood_rows(measured, everything)}
    assert rows["NAF"] == ["3,000", (-1.5, None), "1"]
    assert rows["MAF"] == ["3,000", (pytest.approx(-1.6), pytest.approx(0.02**0.5)), "2"]


def test_a_flow_of_pictures_is_a_model_of_points() -> None:
    model = system_named("Glow").plane(0)
    assert isinstance(model, FlowModel) and model.code(points(5, 0)).shape == (5, 2)
    assert model.loss(points(5, 0)).shape == () and isinstance(model.steps, nn.ModuleList)
