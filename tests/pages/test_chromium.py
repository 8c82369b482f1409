"""The browser is found where systems keep it, and what needs it is skipped in words where there is none."""

from pathlib import Path

import chromium
import pytest
from browser_fixtures import browser_path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a browser."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "MACOS", [tmp_path / "Applications"])
    for name in (*chromium.WINDOWS, "CI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def placed(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return str(path)


def test_without_a_browser_the_tests_are_skipped_in_words(bare: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="No Chromium or Chrome is installed"):
        browser_path()


def test_in_continuous_integration_that_is_a_failure(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="have to be tested"):
        browser_path()


def test_chrome_is_found_among_the_applications_of_macos(bare: Path) -> None:
    there = placed(bare / "Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    assert browser_path() == there


@pytest.mark.parametrize("variable", chromium.WINDOWS)
def test_chrome_is_found_among_the_programs_of_windows(
    bare: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(bare / "Program Files"))
    there = placed(bare / "Program Files/Google/Chrome/Application/chrome.exe")
    assert browser_path() == there


def test_one_on_the_path_comes_first(bare: Path) -> None:
    placed(bare / "Applications/Chromium.app/Contents/MacOS/Chromium")
    (bare / "chromium").touch(mode=0o755)
    assert browser_path() == str(bare / "chromium")
