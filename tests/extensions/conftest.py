"""The built book, for tests that read its pages without a browser."""

from pathlib import Path

import pytest
from built_book import built_book


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_book(tmp_path_factory)
