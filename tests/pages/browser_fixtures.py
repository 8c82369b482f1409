"""Chromium and the built book, for the test modules that name this file in ``pytest_plugins``."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import SCREENSHOTS, SIZES
from built_book import built_book
from chromium import FLAGS, installed, served
from playwright.sync_api import Browser, BrowserContext, sync_playwright


def browser_path() -> str:
    """Where the browser is; without one the tests that need it are skipped, in continuous integration they fail."""
    path = installed()
    if path is None and os.environ.get("CI"):
        pytest.fail("No Chromium or Chrome is installed, and in continuous integration the pages have to be tested.")
    if path is None:
        pytest.skip("No Chromium or Chrome is installed, so nobody looked at the pages.")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = browser_path()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def html(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built book. (After the browser: without one there is no need to build.)"""
    return built_book(tmp_path_factory)


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    """The built book, served on this machine."""
    with served(html) as home:
        yield home


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Windows of a desk in which nothing moves by itself."""
    context = browser.new_context(viewport=SIZES["desktop"], reduced_motion="reduce")
    yield context
    context.close()
