"""The data sets by name: the right splits, the tensor they come as, and where their files are looked for."""

import copy
import hashlib
import http.server
import pickle
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from made_images import archive, pixels_of, put, python2_batch, refusal, sha256

from snf_lite.data.datasets import DataError, dataset_names, density_names, load
from snf_lite.data.registry import IMAGE_SETS, SPLITS, ImageSet, Part

pytestmark = pytest.mark.usefixtures("bare_environment")
README = Path(__file__).parents[2] / "data" / "README.md"


def test_names_are_images_first_then_densities() -> None:
    assert dataset_names()[:5] == ["digits", "mnist", "fashion_mnist", "cifar10", "imagenet32"]
    assert dataset_names()[5:] == density_names()
    assert {"moons", "rings", "spirals", "checkerboard", "pinwheel", "swissroll", "mixture"} < set(density_names())


@pytest.mark.parametrize("name", ["MNIST", "svhn", "", None, 3, ["mnist"]])
def test_unknown_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        load(name)
    assert all(known in str(caught.value) for known in dataset_names())
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["digits", "mnist", "moons"])
@pytest.mark.parametrize("split", ["valid", "Test", None])
def test_unknown_split_is_refused_with_the_list(name: str, split: str) -> None:
    with pytest.raises(ValueError) as caught:
        load(name, split)
    assert all(known in str(caught.value) for known in (*SPLITS, repr(split)))


# ---- digits and the tensor itself ------------------------------------------------------------------------------------

DIGITS = {
    "train": (1197, "f928735f"),
    "validation": (300, "94a3b54c"),
    "test": (300, "ccd5b41c"),
}


@pytest.mark.parametrize("split", SPLITS)
def test_digits_are_always_the_same(split: str) -> None:
    data = load("digits", split)
    count, known = DIGITS[split]
    assert data.shape == (count, 1, 8, 8) and data.dtype == torch.uint8
    assert (data.levels, data.name, data.split_name) == (17, "digits", split)
    assert int(data.min()) == 0 and int(data.max()) == 16
    assert data.sha256.startswith(known)


def test_digits_splits_are_disjoint_and_complete() -> None:
    from sklearn.datasets import load_digits

    everything = torch.from_numpy(load_digits().images).to(torch.uint8)
    order = np.random.RandomState(0).permutation(1797)
    splits = torch.cat([load("digits", split) for split in SPLITS])
    assert sorted(order) == list(range(1797))
    assert torch.equal(splits[:, 0], everything[torch.from_numpy(order)])


def test_digits_and_densities_ignore_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = load("digits").sha256
    monkeypatch.setenv("SNF_DATA", str(tmp_path / "absent"))
    assert load("digits").sha256 == expected
    assert load("digits", root=tmp_path).sha256 == expected
    assert len(load("moons", root=tmp_path)) == 10_000


def test_what_is_computed_from_data_is_a_plain_tensor() -> None:
    data = load("digits", "test")
    assert isinstance(data, torch.Tensor)
    assert {type(data[0]), type(data / 16), type(data.float()), type(torch.cat([data]))} == {torch.Tensor}
    part = data[5:9]
    assert (part.levels, part.name, part.split_name) == (17, "digits", "a part of test")
    assert torch.equal(part, torch.Tensor(data)[5:9].to(torch.uint8))
    assert [len(chunk) for chunk in torch.split(data, 200)] == [200, 100]


def test_copies_keep_the_description_and_hash_follows_the_values() -> None:
    data = load("digits", "test")
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert (other.name, other.split_name, other.levels) == ("digits", "test", 17)
        assert other.sha256 == data.sha256 == sha256(data.numpy())
        other[0, 0, 0, 0] += 1
        assert other.sha256 != data.sha256


# ---- where files come from -------------------------------------------------------------------------------------------


def test_data_folder_without_the_set_is_an_error_not_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("went to the network"))
    monkeypatch.setenv("SNF_DATA", str(tmp_path))
    for name in (*IMAGE_SETS, "imagenet32"):
        with pytest.raises(DataError) as caught:
            load(name)
        assert str(tmp_path / name) in str(caught.value) and "SNF_DATA" in str(caught.value)


@pytest.mark.parametrize("name", [*IMAGE_SETS, "imagenet32"])
def test_folder_without_the_file_names_what_it_looked_for(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    for split in SPLITS:
        message = refusal(name, split, tmp_path)
        assert str(tmp_path / name) in message
        if name != "imagenet32":
            parts, _ = IMAGE_SETS[name].splits[split]
            assert all(file in message for file in parts[0].files)


def test_root_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SNF_DATA", str(tmp_path / "other"))
    assert str(tmp_path / "mine" / "mnist") in refusal("mnist", "test", tmp_path / "mine")


def test_imagenet32_is_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("went to the network"))
    monkeypatch.setenv("SNF_DATA", "")
    with pytest.raises(DataError, match=r"imagenet32: is read from a local folder only.*Set SNF_DATA"):
        load("imagenet32")


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_without_a_network_the_error_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror("no network")

    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(DataError) as caught:
        load(name)
    words = (
        IMAGE_SETS[name].splits["train"][0][0].url,
        "Go online",
        "SNF_DATA",
        f"{name}/",
        "digits",
        "need no download",
    )
    assert all(word in str(caught.value) for word in words)


class Server:
    """A web server on this machine with one file, which counts how often it is fetched."""

    def __init__(self, folder: Path) -> None:
        self.fetched: list[str] = []
        fetched = self.fetched

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: object) -> None:
                fetched.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, list[np.ndarray]]]:
    """A made CIFAR-10 of 3 images a batch, its archive served from this machine in the registry's place."""
    batches = [pixels_of(3, 3, 32, 32) + number for number in range(4)]
    names = [f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 5)]
    content = archive({name: python2_batch(batch.reshape(3, -1)) for name, batch in zip(names, batches, strict=True)})
    path = put(tmp_path / "served", "cifar-10-python.tar.gz", content)
    server = Server(path.parent)
    known = hashlib.sha256(content).hexdigest()
    parts = tuple(
        Part((), 3, sha256(batch), server.address + path.name, known, name, len(content))
        for batch, name in zip(batches, names, strict=True)
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(IMAGE_SETS, "cifar10", ImageSet((3, 32, 32), {"train": (parts, slice(None))}))
    yield server, batches
    server.stop()


def test_download_happens_once_and_gives_the_pixels(served: tuple[Server, list[np.ndarray]], tmp_path: Path) -> None:
    server, batches = served
    assert np.array_equal(load("cifar10").numpy(), np.concatenate(batches))
    assert len(server.fetched) == 1
    server.stop()
    assert np.array_equal(load("cifar10").numpy(), np.concatenate(batches))
    assert (tmp_path / "cache" / "cifar10" / "cifar-10-python.tar.gz").is_file()


def test_download_with_a_wrong_hash_is_refused_and_not_kept(
    served: tuple[Server, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts, rows = IMAGE_SETS["cifar10"].splits["train"]
    wrong = tuple(replace(part, sha256="0" * 64) for part in parts)
    monkeypatch.setitem(IMAGE_SETS, "cifar10", ImageSet((3, 32, 32), {"train": (wrong, rows)}))
    with pytest.raises(DataError, match="does not match the known hash"):
        load("cifar10")
    assert not (tmp_path / "cache" / "cifar10" / "cifar-10-python.tar.gz").exists()


def test_download_that_is_not_there_is_an_error(
    served: tuple[Server, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, rows = IMAGE_SETS["cifar10"].splits["train"]
    moved = tuple(replace(part, url=served[0].address + "moved.tar.gz") for part in parts)
    monkeypatch.setitem(IMAGE_SETS, "cifar10", ImageSet((3, 32, 32), {"train": (moved, rows)}))
    with pytest.raises(DataError, match="404"):
        load("cifar10")


def test_the_readme_tells_the_registry() -> None:
    text = README.read_text(encoding="utf-8")
    for name, image_set in IMAGE_SETS.items():
        assert f"`{name}`" in text
        for parts, _ in image_set.splits.values():
            for part in parts:
                assert all(fact in text for fact in (part.url, part.sha256, part.pixels)), f"{name}: {part}"
