"""Built pages are used again only if nothing that they were made from, and nothing of them, is another than it was."""

import json
from collections.abc import Iterator
from pathlib import Path

import built_book
import pytest
from _ext import build_stamp
from _ext.build_stamp import NAME, SOURCES, stale
from paths import ROOT
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

SETTINGS = {
    "extensions": ["_ext.build_stamp"],
    "exclude_patterns": ["out"],
    "html_theme": "basic",
    "master_doc": "book/first",
    "nitpicky": True,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small book that shows a picture from outside of its folder."""
    for name in (
        "_config.yml",
        "_toc.yml",
        "snf_lite/dense.py",
        "book/_tools/pdf.py",
        "book/_static/book.css",
        "runs/it.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1", "utf-8")
    tables = ".. toctree::\n\n   second\n\n.. image:: ../runs/it.png\n"
    (tmp_path / "book" / "first.rst").write_text(f"First\n=====\n\n{tables}", "utf-8")
    (tmp_path / "book" / "second.rst").write_text("Second\n======\n\nText.\n", "utf-8")
    return tmp_path


def html(root: Path) -> Path:
    return root / "out" / "html"


def made(root: Path, **settings: object) -> str:
    """Build it, and say why its pages cannot be used."""
    folder = html(root)
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            root, None, folder, root / "out" / "trees", "html", SETTINGS | settings, status=None, warning=None,
            warningiserror=True, keep_going=True,
        )  # fmt: skip
        app.build()
    (folder / "index.html").write_text("leads to book/first.html", "utf-8")
    return stale(folder, root)


def test_a_whole_build_without_a_warning_can_be_used(root: Path) -> None:
    assert made(root) == ""
    assert made(root) == "", "a build that finds nothing to do"


@pytest.mark.parametrize("name", ["_config.yml", "_toc.yml", "snf_lite/dense.py", "book/_static/book.css",
                                  "book/second.rst", "runs/it.png", "book/new.md", "snf_lite/new.py"])  # fmt: skip
def test_another_source_is_seen(root: Path, name: str) -> None:
    made(root)
    (root / name).write_text("2", "utf-8")
    assert stale(html(root), root) == f"sources have changed: {name}"


def test_a_source_that_is_gone_is_seen(root: Path) -> None:
    made(root)
    (root / "runs" / "it.png").unlink()
    assert stale(html(root), root) == "sources have changed: runs/it.png"


def test_a_tool_or_a_cache_is_no_source(root: Path) -> None:
    made(root)
    (root / "book" / "pdf.py").write_text("2", "utf-8")
    (root / "book" / ".ipynb_checkpoints").mkdir()
    (root / "book" / ".ipynb_checkpoints" / "first.rst").write_text("2", "utf-8")
    assert stale(html(root), root) == ""


@pytest.mark.parametrize("name", ["book/second.html", "_static/basic.css"])
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("2", "utf-8")])
def test_a_built_file_that_was_removed_or_altered_is_seen(root: Path, name: str, change: object) -> None:
    made(root)
    change(html(root) / name)
    assert stale(html(root), root) == f"built files have changed: {name}"


def test_a_page_of_an_earlier_build_is_seen(root: Path) -> None:
    made(root)
    (html(root) / "book" / "old.html").write_text("2", "utf-8")
    assert "old.html" in stale(html(root), root)
    (html(root) / "book" / "old.html").rename(html(root) / "book.pdf")
    assert stale(html(root), root) == "", "the printed file may stand beside the pages"


def test_other_versions_are_seen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(root)
    monkeypatch.setattr(build_stamp, "versions", lambda: {**json.loads(stamp(root))["versions"], "sphinx": "0"})
    assert stale(html(root), root) == "other versions are installed: sphinx"


def stamp(root: Path) -> str:
    return (html(root).parent / NAME).read_text("utf-8")


def test_a_build_of_what_has_changed_alone_is_not_enough(root: Path) -> None:
    made(root)
    (root / "book" / "second.rst").write_text("Second\n======\n\nOther text.\n", "utf-8")
    assert made(root) == "no whole build without a warning is there"


def test_a_warning_leaves_no_stamp_nor_does_the_build_after_it(root: Path) -> None:
    (root / "book" / "second.rst").write_text("Second\n======\n\n:any:`nothing`\n", "utf-8")
    assert made(root) and not (html(root).parent / NAME).exists()
    assert made(root), "this build does not read the page again and does not warn"


def test_a_lax_build_leaves_no_stamp(root: Path) -> None:
    assert made(root, nitpicky=False)


def test_the_patterns_find_what_this_book_is_made_from() -> None:
    found = build_stamp.sources(ROOT, [])
    assert {"_config.yml", "_toc.yml", "book/welcome.md", "book/_static/fonts/arimo.woff2"} <= set(found)
    assert {"snf_lite/dense.py", "book/_ext/build_stamp.py", "book/references.bib"} <= set(found) and SOURCES


# -- what the tests do with it -----------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The folders into which the tests would build the book."""
    folders: list[Path] = []
    monkeypatch.setattr(built_book, "build", folders.append)
    base = tmp_path_factory.mktemp("base")
    monkeypatch.setattr(tmp_path_factory, "getbasetemp", lambda: base)
    yield folders


def test_pages_that_are_up_to_date_are_used(
    asked: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(built_book, "stale", lambda html, root: "")
    assert built_book.built_book(tmp_path_factory) == built_book.MADE and not asked


def test_otherwise_the_book_is_built_elsewhere(
    asked: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(built_book, "stale", lambda html, root: "sources have changed")
    html = built_book.built_book(tmp_path_factory)
    assert [html] == [folder / "_build" / "html" for folder in asked] and not html.is_relative_to(ROOT)
