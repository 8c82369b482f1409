"""Notebooks are compared as a reader runs them: in an empty folder, with the package alone (``fixtures/reader.py``)."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell
from reader import kernel, left_behind

HOME = pytest.StashKey[Path]()


def reader_home(config: pytest.Config) -> Path:
    """The reader's environment of this process, made when its first notebook asks for the kernel."""
    if HOME not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="reader-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        config.stash[HOME] = Path(folder.name)
        os.environ["JUPYTER_PATH"] = str(kernel(config.stash[HOME]))
        os.environ["TQDM_DISABLE"] = "1"  # no progress bars in what is compared
        os.environ["IPYTHONDIR"] = str(config.stash[HOME] / "ipython")  # nobody's own settings, and no need of a home
        if not os.access(os.path.expanduser("~"), os.W_OK):
            os.environ.setdefault("MPLCONFIGDIR", str(config.stash[HOME] / "matplotlib"))
    return config.stash[HOME]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if isinstance(item, IPyNbCell):
        reader_home(item.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if isinstance(item, IPyNbCell) and (nextitem is None or nextitem.parent is not item.parent):
        files = left_behind(reader_home(item.config))
        assert not files, f"{item.parent} leaves files behind: {files}"
