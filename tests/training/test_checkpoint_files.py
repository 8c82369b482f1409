"""What is wrong with a checkpoint file, an older file, and a disk that fails: damage is named, nothing is lost."""

import errno
import hashlib
import io
import os
import pickle
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpointed_runs import assert_same, fresh, run

import snf_lite as snf
from snf_lite.runtime import files
from snf_lite.training import checkpoints

# ---- files that are no good ------------------------------------------------------------------------------------------


def altered(path: Path, change: Any) -> Path:
    """A copy of a checkpoint after ``change`` of its content, with the digest as it was."""
    with zipfile.ZipFile(path) as archive:
        digest = archive.comment
    rewritten = resigned(path, change)
    with zipfile.ZipFile(rewritten, "a") as archive:
        archive.comment = digest
    return rewritten


def resigned(path: Path, change: Any) -> Path:
    """The same with the digest of the new bytes."""
    stored, buffer, rewritten = torch.load(path, weights_only=True), io.BytesIO(), path.with_name("altered.pt")
    change(stored)
    torch.save(stored, buffer)
    rewritten.write_bytes(checkpoints.signed(buffer.getvalue()))
    return rewritten


def nudge(stored: dict[str, Any]) -> None:
    stored["weights"]["layers.1.weight"][0, 0] += 1e-6


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.pt: there is no such checkpoint"):
        snf.restore(tmp_path / "gone.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got 0 bytes that cannot be read"),
        (b"garbage" * 100, "got 700 bytes that cannot be read"),
        (pickle.dumps({"format": "snf_lite checkpoint"}, protocol=4), "cannot be read|checkpoint format"),
    ],
)
def test_a_file_of_something_else_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(snf.CheckpointError, match=rf"bad\.pt: .*({message})"):
        snf.restore(tmp_path / "bad.pt")
    with pytest.raises(snf.CheckpointError, match=r"bad\.pt"):
        run(tmp_path / "bad.pt")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "flow.pt"
    snf.save(fresh(), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(snf.CheckpointError, match="truncated, damaged or something else"):
        snf.restore(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nudge, "has been altered"),
        (lambda stored: stored["weights"].pop("layers.1.bias"), "has been altered"),
        (lambda stored: stored["architecture"].update(event_shape=[3]), "has been altered"),
        (lambda stored: stored.update(version=3), "expected checkpoint format 2 or before, got 3"),
        (lambda stored: stored.update(format="other"), "expected a checkpoint of snf_lite, got something else"),
        (lambda stored: stored.clear(), "a dict with nothing in it"),
    ],
)
def test_an_altered_file_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    snf.save(fresh(), tmp_path / "flow.pt")
    with pytest.raises(snf.CheckpointError, match=rf"altered\.pt: .*{message}"):
        snf.restore(altered(tmp_path / "flow.pt", change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored["weights"].pop("layers.1.bias"), "weights do not fit its own architecture"),
        (lambda stored: stored["architecture"]["layers"][1][1].update(hue="red"), "does not take its stored settings"),
    ],
)
def test_a_well_signed_file_must_still_make_sense(change: Any, message: str, tmp_path: Path) -> None:
    snf.save(fresh(), tmp_path / "flow.pt")
    with pytest.raises(snf.CheckpointError, match=message):
        snf.restore(resigned(tmp_path / "flow.pt", change))


def test_every_byte_counts(tmp_path: Path) -> None:
    """``torch.load`` alone accepts many a changed byte."""
    path = tmp_path / "flow.pt"
    snf.save(snf.Flow([snf.ExactLinear(2)], (2,)), path)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(snf.CheckpointError, match=r"flow\.pt"):
            snf.restore(path)


def version_1(path: Path) -> None:
    """Write a checkpoint again as version 1 did: a recursive digest of its content among the content."""
    content = checkpoints.read(path)
    hasher = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            inner = hashlib.sha256(value.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
            hasher.update(f"{value.dtype}{tuple(value.shape)}{inner}".encode())
        elif isinstance(value, dict):
            hasher.update(f"{{{len(value)}".encode())
            for key, entry in value.items():
                feed(key)
                feed(entry)
        elif type(value) in (list, tuple):
            hasher.update(f"{type(value).__name__}{len(value)}".encode())
            for entry in value:
                feed(entry)
        else:
            hasher.update(f"{type(value).__name__}{value!r};".encode())

    feed(content)
    torch.save({"format": "snf_lite checkpoint", "version": 1, "digest": hasher.hexdigest(), **content}, path)


def test_a_run_in_a_checkpoint_of_version_1_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(path, 2)
    version_1(path)
    assert torch.load(path, weights_only=True)["version"] == 1
    assert_same(run(path, 4), run(None, 4))
    assert torch.load(path, weights_only=True)["version"] == 2


def test_an_altered_checkpoint_of_version_1_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.pt"
    snf.save(fresh(), path)
    version_1(path)
    assert_same(snf.restore(path), fresh())
    stored = torch.load(path, weights_only=True)
    nudge(stored)
    torch.save(stored, path)
    with pytest.raises(snf.CheckpointError, match="has been altered"):
        snf.restore(path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"format": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(snf.CheckpointError, match="cannot be read"):
        snf.restore(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


# ---- disks that are no good ------------------------------------------------------------------------------------------


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flow.pt"
    snf.save(fresh(), path)
    before = path.read_bytes()
    fill_disk(monkeypatch)
    with pytest.raises(OSError, match=r"No space left on device.*that was there is intact: .*flow\.pt") as caught:
        snf.save(fresh(depth=3), path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["flow.pt"]
    with pytest.raises(OSError, match="nothing was left there"):
        snf.save(fresh(), tmp_path / "new.pt")
    assert os.listdir(tmp_path) == ["flow.pt"]


def test_a_write_that_breaks_off_half_way_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limits of a process")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"could not write \d+ bytes \(File too large\)"):
            snf.save(fresh(), tmp_path / "flow.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_during_a_run_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "run.pt"
    run(path, 2)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device"):
        fill_disk(patch)
        run(path, 4)
    assert_same(run(path, 4), run(None, 4))


@pytest.mark.parametrize("path", [".", "file/flow.pt"])
def test_a_path_that_cannot_be_written_is_named(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here", "utf-8")
    with pytest.raises(OSError, match="could not write"):
        snf.save(fresh(), tmp_path / path)
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real.pt", tmp_path / "link.pt"
    try:
        link.symlink_to(target)
    except OSError as error:
        pytest.skip(f"this system lets nobody make a link: {error}")
    snf.save(snf.build("dense-exact", (2,)), link)
    assert link.is_symlink() and snf.restore(target).event_shape == (2,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=pipe.read_bytes)
    reader.start()
    snf.save(snf.build("dense-exact", (2,)), pipe)
    reader.join(timeout=10)
    assert pipe.is_fifo()
