"""Checkpoints by somebody who knows the format and signs them: refused in words, at no cost in memory."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpointed_runs import fresh, run
from each_case import check_each

import snf_lite as snf
from snf_lite.runtime.unpickle import load_archive
from snf_lite.training import checkpoints

Change = Callable[[dict[str, Any]], object]


def signed_with(path: Path, change: Change) -> Path:
    """A checkpoint after a change of its content, signed again."""
    stored, buffer = torch.load(path, weights_only=True), io.BytesIO()
    change(stored)
    torch.save(stored, buffer)
    crafted = path.with_name("crafted.pt")
    crafted.write_bytes(checkpoints.signed(buffer.getvalue()))
    return crafted


def cycle(stored: dict[str, Any]) -> None:
    stored["architecture"]["layers"].append(stored["architecture"]["layers"])


def laughs(stored: dict[str, Any]) -> None:
    """A list of 10 lists of 10 lists …, in a few bytes."""
    entry: list[Any] = [0]
    for _ in range(30):
        entry = [entry] * 10
    stored["architecture"]["layers"] = entry


def weight(value: Any) -> Change:
    return lambda stored: stored["weights"].update({"layers.1.weight": value})


def settings(**values: Any) -> Change:
    return lambda stored: stored["architecture"]["layers"][1][1].update(values)


def described(**values: Any) -> Change:
    return lambda stored: stored["architecture"].update(values)


#: What is in the file, and what the refusal says.
CRAFTED: list[tuple[str, Change, str]] = [
    ("a list in itself", cycle, "cannot be read"),
    ("a list many times in itself", laughs, "cannot be read"),
    ("deep lists", described(layers=json.loads("[" * 60 + "]" * 60)), "cannot be read"),
    ("a sparse weight", weight(torch.eye(2).to_sparse()), "cannot be read"),
    ("a weight on meta", weight(torch.empty(2, 2, device="meta")), "cannot be read"),
    ("a complex weight", weight(torch.eye(2, dtype=torch.complex64)), "cannot be read"),
    ("a weight of a dtype without storages", weight(torch.zeros(2, 2, dtype=torch.uint16)), "cannot be read"),
    ("an expanded weight", weight(torch.zeros(1).expand(10**6, 10**6)), "cannot be read"),
    ("a strided weight", weight(torch.zeros(4).as_strided((3, 2), (1, 1))), "cannot be read"),
    ("weights of another shape", weight(torch.zeros(3, 3)), r"weights do not fit .*\(3, 3\)"),
    ("no weight", weight(None), "weights.*expected a Tensor, got nothing"),
    ("a list for a weight", weight([1.0]), "expected a Tensor, got a list"),
    ("a string for the weights", lambda stored: stored.update(weights="all"), "expected a mapping, got a str"),
    ("a layer of a million features", settings(features=10**6), "SelfNormLinear does not take.*far larger than"),
    ("a layer of 10^30 features", settings(features=10**30), "SelfNormLinear does not take"),
    ("a setting beyond float", settings(recon_weight=10**400), "SelfNormLinear does not take"),
    (
        "a setting of no name",
        lambda stored: stored["architecture"]["layers"][1][1].update({1: 2}),
        "a key of .* expected a string",
    ),
    ("layers without settings", described(layers=[["ExactLinear"]]), "expected a list of 2"),
    ("layers that are strings", described(layers=["ExactLinear"]), "expected a list of 2, got a str"),
    ("no layers", described(layers=None), "expected a list, got nothing"),
    ("a dtype of no name", described(dtype="float99"), "no floating-point dtype of torch: 'float99'"),
    ("a function for a dtype", described(dtype="load"), "no floating-point dtype"),
    ("a dtype of integers", described(dtype="int64"), "no floating-point dtype"),
    ("an event shape of strings", described(event_shape=["2"]), "event_shape.*expected an integer, got a str"),
    ("a huge event shape", described(event_shape=[10**30]), "event_shape.*expected an integer"),
    ("a negative event shape", described(event_shape=[-2]), "do not fit its own architecture"),
    (
        "a tensor for the format",
        lambda stored: stored.update(format=torch.zeros(2)),
        "expected a checkpoint of snf_lite",
    ),
    (
        "a tensor for the version",
        lambda stored: stored.update(version=torch.zeros(2)),
        "format 2 or before, got tensor",
    ),
    ("true for the version", lambda stored: stored.update(version=True), "format 2 or before, got True"),
    ("no architecture", lambda stored: stored.pop("architecture"), "expected a mapping, got nothing"),
    ("a list for the training", lambda stored: stored.update(training=[1]), "training"),
]


@pytest.fixture(scope="module")
def flow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crafted") / "flow.pt"
    snf.save(fresh(), path)
    return path


def test_a_crafted_flow_is_refused(flow_file: Path) -> None:
    def check(case: tuple[str, Change, str]) -> None:
        with pytest.raises(snf.CheckpointError, match=rf"(?s)crafted\.pt: .*{case[2]}"):
            snf.restore(signed_with(flow_file, case[1]))

    check_each(CRAFTED, check, lambda case: case[0])


def state(**values: Any) -> Change:
    return lambda stored: stored["training"].update(values)


def history(**values: Any) -> Change:
    return lambda stored: stored["training"]["history"].update(values)


def moments(**values: Any) -> Change:
    return lambda stored: stored["training"]["optimizer"]["state"][0].update(values)


RUNS: list[tuple[str, Change, str]] = [
    ("a clock without entries", state(clock={}), "clock: missing or unknown are seconds, stepped, stepping"),
    ("a clock that is none", state(clock=None), "clock: expected a mapping"),
    ("a clock of strings", state(clock={"seconds": "1", "stepping": 0.0, "stepped": 0}), "expected a number"),
    ("a sum of losses that is a string", lambda s: s["training"]["clock"].update(objective="1"), "expected a number"),
    ("an epoch that is none", state(epoch=None), "epoch: expected an integer, got nothing"),
    ("a huge epoch", state(epoch=10**12), "its epoch is 1000000000000"),
    ("a negative epoch", state(epoch=-1), "its epoch is -1"),
    ("no history", state(history=None), "history: expected a mapping"),
    ("empty columns", history(epochs=[], steps=[], seconds=[], ms_per_step=[], validation_nats=[]), "at least 1"),
    ("a column that is none", history(validation_nats=None), "validation_nats: expected a list, got nothing"),
    ("a shorter column", history(seconds=[1.0]), "columns of one length"),
    ("a column of strings", history(validation_nats=["1"] * 3), "expected a number, got a str"),
    ("a column of nan", history(validation_nats=[1.0, float("nan"), 2.0]), "expected a number"),
    ("no optimizer", state(optimizer=None), "optimizer: expected a mapping"),
    ("an optimizer without state", lambda s: s["training"]["optimizer"]["state"].clear(), "has no state"),
    ("moments of another shape", moments(exp_avg=torch.zeros(7)), r"exp_avg': \(7,\)"),
    ("moments that are none", moments(exp_avg=None), "state of parameter 0"),
    ("a step of another shape", moments(step=torch.zeros(7)), "state of parameter 0"),
    ("fewer moments", lambda s: s["training"]["optimizer"]["state"][0].pop("exp_avg_sq"), "state of parameter 0"),
    ("parameters that are not there", lambda s: s["training"]["optimizer"]["state"].update({99: {}}), "parameter 99"),
    ("fewer parameters", lambda s: s["training"]["optimizer"]["param_groups"][0]["params"].pop(), "had 5 parameters"),
    ("no groups", lambda s: s["training"]["optimizer"].update(param_groups=[]), "had 0 parameters"),
    ("weights that are none", state(weights=None), "weights: expected a mapping"),
    ("weights that are lists", state(weights={"layers.1.weight": [1.0]}), "expected a Tensor, got a list"),
    ("fewer weights", lambda s: s["training"]["weights"].popitem(), "cannot be resumed: .*missing in the checkpoint"),
    ("fewer best weights", lambda s: s["weights"].popitem(), "cannot be resumed: .*missing in the checkpoint"),
]  # fmt: skip


def test_a_crafted_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "run.pt", 2)

    def check(case: tuple[str, Change, str]) -> None:
        crafted = signed_with(tmp_path / "run.pt", case[1])
        with pytest.raises(snf.CheckpointError, match=rf"(?s)crafted\.pt: .*{case[2]}"):
            run(crafted, 4)

    check_each(RUNS, check, lambda case: case[0])


def test_settings_of_the_optimizer_are_those_of_the_command_not_of_the_file(tmp_path: Path) -> None:
    run(tmp_path / "run.pt", 2)
    change = state_of_group(betas=(0.0, 0.0), weight_decay=1.0, maximize=True)
    crafted = signed_with(tmp_path / "run.pt", change)
    there, here = run(crafted, 4).state_dict(), run(None, 4).state_dict()
    assert all(torch.equal(there[name], here[name]) for name in here)


def state_of_group(**values: Any) -> Change:
    return lambda stored: stored["training"]["optimizer"]["param_groups"][0].update(values)


# ---- archives --------------------------------------------------------------------------------------------------------


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        made.writestr("archive/data.pkl", pickled)
        for name, content in members.items():
            made.writestr(f"archive/data/{name}", content)
    return buffer.getvalue()


TENSOR = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
    b"aX\x03\0\0\0cpuJ%btQK\0J%b\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."
)


@pytest.mark.parametrize("claimed", [5, 1000, 2**30])
def test_a_storage_has_as_many_numbers_as_bytes_in_the_file(claimed: int) -> None:
    """``torch.load`` takes the number from the pickle, and reads beyond the bytes."""
    number = claimed.to_bytes(4, "little")
    with pytest.raises(ValueError, match="as many numbers as its member has"):
        load_archive(archive(TENSOR % (number, number), a=bytes(16)))
    four = (4).to_bytes(4, "little")
    assert torch.equal(load_archive(archive(TENSOR % (four, four), a=bytes(16))), torch.zeros(4))


def test_a_compressed_archive_is_not_unpacked() -> None:
    data = archive(pickle.dumps({}, 2), zipfile.ZIP_DEFLATED, a=bytes(10**8))
    assert len(data) < 200_000
    with pytest.raises(ValueError, match="got it compressed"):
        load_archive(data)


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"cos\nsystem\n(X\x02\0\0\0lstR.", "refused to load os.system"),
        (b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.", "refused to load builtins.bytearray"),
        (b"\x80\x05\x96" + (10**12).to_bytes(8, "little") + b".", None),
        (b"ccollections\nOrderedDict\n}X\x04\0\0\0nameK\x01sb.", "refused to set the state of a function"),
        (b"(icollections\nOrderedDict\n.", "refused an opcode"),
        (b"\x82\x01.", "refused an opcode"),
    ],
)
def test_a_pickle_is_refused(pickled: bytes, message: str) -> None:
    with pytest.raises((pickle.UnpicklingError, EOFError), match=message):
        load_archive(archive(pickled))


def test_an_index_far_out_takes_no_memory() -> None:
    """The memo of C's unpickler is a list as long as the largest index in the file: 32 GB."""
    assert load_archive(archive(b"\x80\x02}r\xff\xff\xff\xff.")) == {}
