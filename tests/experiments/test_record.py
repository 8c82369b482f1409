"""Training records: their content, provenance, files and errors; and figures of samples through both inverses."""

import errno
import io
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import HELD_OUT, MOONS, fresh

import snf_lite as snf
from snf_lite.analysis.figures import sample_grid
from snf_lite.analysis.sampling import recorded_solves, sample_pair
from snf_lite.experiments import record as runs
from snf_lite.runtime import files, provenance
from snf_lite.runtime.records import write_record

COMMAND = "python -m snf_lite train dense-selfnorm"


@pytest.fixture(scope="module")
def record() -> runs.TrainingRecord:
    flow = fresh()
    history = snf.fit(flow, MOONS, 2, validation=HELD_OUT)
    test, pair = snf.evaluate(flow, "moons"), sample_pair(flow, 50)
    return runs.make_record(COMMAND, "dense-selfnorm", {"depth": 2}, flow, history, test, pair)


def test_a_record_carries_its_provenance(record: runs.TrainingRecord) -> None:
    assert record.model == {"name": "dense-selfnorm", "settings": {"depth": 2}, "parameters": 20}
    assert [record.data[split]["count"] for split in ("train", "validation", "test")] == [400, 100, 2000]
    assert record.data["test"]["sha256"] == snf.load("moons", "test").sha256
    assert record.package["version"] == snf.__version__
    assert record.libraries["torch"] == torch.__version__ and record.libraries["numpy"] == np.__version__
    assert record.device.startswith("CPU, ") and record.threads == torch.get_num_threads()
    assert record.date.endswith("+00:00") and record.seconds == record.history["seconds"][-1]
    assert record.history["settings"]["lr"] == 1e-3 and record.seed == 0
    assert record.results["test"]["nats"] == pytest.approx(record.results["test"]["bits_per_dim"] * 2 * np.log(2))
    assert set(record.sampling) == {"count", "relative_distance", "learned_ms_per_sample", "exact_ms_per_sample"}


def test_a_record_tells_nothing_about_the_machine_but_its_kind(record: runs.TrainingRecord, tmp_path: Path) -> None:
    write_record(record, tmp_path / "record.json")
    text = (tmp_path / "record.json").read_text("utf-8")
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text and str(Path(snf.__file__).parent) not in text


def test_a_record_comes_back_and_is_strict_json(record: runs.TrainingRecord, tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    write_record(record, path)
    assert runs.read_record(path) == record
    assert os.listdir(path.parent) == ["record.json"]
    assert len(path.read_text("utf-8").splitlines()) < 60
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(replace(record, seconds=float("nan")), path)
    assert runs.read_record(path) == record


def test_a_full_disk_leaves_the_old_record(record: runs.TrainingRecord, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "record.json"
    write_record(record, path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(replace(record, seed=1), path)
    assert runs.read_record(path) == record and os.listdir(tmp_path) == ["record.json"]


# ---- which code it was -----------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return os.fsdecode(done.stdout).strip()


@pytest.fixture
def copied_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder of its own, where provenance.py believes it is; its path is not in every system's encoding."""
    package = tmp_path / os.fsdecode("Ágnes".encode()) / "snf_lite"
    package.mkdir(parents=True)
    module = package / "runtime" / "provenance.py"
    module.parent.mkdir()
    shutil.copyfile(str(provenance.__file__), module)  # not its mode
    monkeypatch.setattr(provenance, "__file__", str(module))
    return package


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_and_changes_are_the_packages_own(copied_package: Path) -> None:
    project, nowhere = copied_package.parent, {"version": snf.__version__, "commit": None, "dirty": None}
    assert provenance.package_identity() == nowhere
    git(project.parent, "init")  # some other repository around it
    assert provenance.package_identity() == nowhere
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "one")
    clean = {"version": snf.__version__, "commit": git(project, "rev-parse", "HEAD"), "dirty": False}
    assert provenance.package_identity() == clean
    (project / "record.json").write_text("{}", "utf-8")  # a result beside the package changes no result
    assert provenance.package_identity() == clean
    (copied_package / "runs.py").write_text("pass", "utf-8")
    assert provenance.package_identity() == {**clean, "dirty": True}


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.package_identity() == {"version": snf.__version__, "commit": None, "dirty": None}


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_the_pair_comes_from_the_same_codes() -> None:
    flow = fresh().double()
    pair = sample_pair(flow, 20, seed=3)
    z = flow(pair.exact)[0]
    assert torch.allclose(flow.inverse(z, exact=False), pair.learned)
    gap = (pair.learned - pair.exact).norm() / pair.exact.norm()
    assert pair.relative_distance == pytest.approx(gap.item()) and pair.relative_distance > 1e-3
    assert torch.equal(sample_pair(flow, 20, seed=3).exact, pair.exact)
    assert not torch.equal(sample_pair(flow, 20, seed=4).exact, pair.exact)


def test_two_exact_inverses_are_not_apart() -> None:
    before = torch.get_rng_state()
    state = fresh("dense-exact")
    torch.set_rng_state(before)
    assert sample_pair(state, 9).relative_distance == 0.0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_bad_number_of_samples_is_refused(n: Any) -> None:
    with pytest.raises(ValueError, match=f"got {n}"):
        sample_pair(fresh(), n)


def image_flow(channels: int) -> snf.Flow:
    torch.manual_seed(0)
    return snf.build("dense-selfnorm", (channels, 4, 4), levels=17)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_stand_in_two_named_rows_on_opaque_white(channels: int) -> None:
    figure = sample_grid(image_flow(channels), n=5)
    above, below = figure.axes
    assert ["learned" in above.get_title(loc="left"), "exact" in below.get_title(loc="left")] == [True, True]
    assert above.get_position().y0 > below.get_position().y1
    stored, drawn = Image.open(io.BytesIO(figure.png())), Image.open(io.BytesIO(figure.image("png")))
    assert stored.mode == ("L" if channels == 1 else "RGBA") and drawn.getextrema()[3] == (255, 255)
    assert (np.asarray(stored.convert("RGB")) == np.asarray(drawn.convert("RGB"))).all()
    assert stored.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert figure.relative_distance == sample_pair(image_flow(channels), 5).relative_distance


def test_the_rows_show_the_samples() -> None:
    figure = sample_grid(image_flow(1), n=3, seed=2)
    for axes, images in zip(figure.axes, (figure.pair.learned, figure.pair.exact), strict=True):
        shown = np.asarray(axes.get_images()[0].get_array())
        assert shown.shape == (4, 14)
        assert np.allclose(shown[:, 5:9] * 16, images[1, 0].numpy())


def test_points_lie_beside_points_on_equal_axes() -> None:
    figure = sample_grid(fresh(), n=30)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
    assert np.allclose(left.collections[0].get_offsets(), figure.pair.learned.numpy())
    assert np.allclose(right.collections[0].get_offsets(), figure.pair.exact.numpy())


def test_events_that_are_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(D,\) or \(C, H, W\), got \(2, 2\)"):
        sample_grid(snf.Flow([snf.Flatten((2, 2)), snf.ExactLinear(4)], (2, 2)))


@pytest.mark.parametrize("features", [1, 2, 5])
def test_points_of_any_dimension_have_a_figure(features: int) -> None:
    figure = sample_grid(snf.build("dense-selfnorm", (features,)), n=20)
    assert figure.pair.exact.shape == (20, features)
    assert [axes.get_xlabel() for axes in figure.axes] == ["feature 1" if features > 2 else ""] * 2


def test_images_of_two_channels_show_the_first() -> None:
    figure = sample_grid(snf.build("dense-selfnorm", (2, 4, 4), levels=17), n=3)
    shown = np.asarray(figure.axes[1].get_images()[0].get_array())
    assert np.allclose(shown[:, 5:9] * 16, figure.pair.exact[1, 0].numpy())


def test_a_record_of_convolutions_holds_the_iterations_of_their_exact_inverses(tmp_path: Path) -> None:
    flow, digits = snf.build("conv-selfnorm", (1, 8, 8), 17), snf.load("digits", "train")[:20]
    flow.initialise(digits)
    solves = recorded_solves(flow, digits)
    labels = [layer.label for layer in reversed(flow.layers) if isinstance(layer, snf.SelfNormConv2d)]
    assert list(solves) == ["samples", "data"]
    for found in solves.values():
        assert list(found) == labels
        assert all(1 <= solve["iterations"] <= 20 and 0 < solve["residual"] <= 1e-10 for solve in found.values())
    assert solves == recorded_solves(flow, digits)
    assert not any("invert" in vars(layer) for layer in flow.layers)
    history = snf.fit(flow, digits, 1, validation=digits)
    test, pair = snf.evaluate(flow, digits), sample_pair(flow, 5)
    made = runs.make_record(COMMAND.replace("dense", "conv"), "conv-selfnorm", {}, flow, history, test, pair, solves)
    write_record(made, tmp_path / "record.json")
    assert runs.read_record(tmp_path / "record.json").sampling["solves"] == solves
    dense = snf.build("dense-selfnorm", (1, 8, 8), 17)
    assert recorded_solves(dense, digits) == {"samples": {}, "data": {}}
