"""The page of the package: each public name is on it, its docstring comes out as it was written, its links lead on."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from _ext.public_names import as_rst
from bs4 import BeautifulSoup, Tag
from built_book import built_book
from each_case import check_each
from paths import notebooks

import snf_lite

LABEL = re.compile(r"eq-[a-z0-9-]*[a-z0-9]")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_book(tmp_path_factory) / "book"


@pytest.fixture(scope="module")
def page(html: Path) -> Tag:
    article = BeautifulSoup((html / "api.html").read_text("utf-8"), "html.parser").find("article")
    assert isinstance(article, Tag)
    return article


def docstring(name: str) -> str:
    """What somebody wrote about a public name; a dataclass without a docstring has one that nobody wrote."""
    text = inspect.cleandoc(getattr(snf_lite, name).__doc__ or "")
    return "" if text.startswith(f"{name}(") else text


LABELS = sorted({label for name in snf_lite.__all__ for label in LABEL.findall(docstring(name))})


def plain(text: str) -> str:
    """Text with one kind of space and of quotation mark."""
    return " ".join(text.translate(str.maketrans("’‘“”", "''\"\"")).split())


@pytest.fixture(scope="module")
def ids(page: Tag) -> set[str]:
    """What the page has an entry for."""
    return {str(tag["id"]) for tag in page.find_all(id=True)}


def test_public_name_has_its_entry(ids: set[str]) -> None:
    prefixes = {name: "module-" * isinstance(getattr(snf_lite, name), ModuleType) for name in snf_lite.__all__}
    missing = [name for name, prefix in prefixes.items() if f"{prefix}snf_lite.{name}" not in ids]
    assert prefixes and not missing, "no part of book/api.md shows them"


def imported() -> list[str]:
    """The functions, classes and modules that a chapter imports from below the package, by their full names."""
    code = [cell.source for path in notebooks() for cell in nbformat.read(path, as_version=4).cells]
    found = re.findall(r"^from (snf_(?:lite|book)\.[\w.]+) import (\([^)]+\)|.+)$", "\n".join(code), re.MULTILINE)
    listed = [(module, re.findall(r"\w+", re.sub(r" as \w+", "", names))) for module, names in found]
    names = {f"{module}.{name}" for module, names in listed for name in names}
    return sorted(name for name in names if not name.rpartition(".")[2].isupper())


def test_what_a_chapter_imports_has_its_entry(ids: set[str]) -> None:
    def check(name: str) -> None:
        entry = {name, f"snf_lite.{name.rpartition('.')[2]}"} & ids
        inside = [found for found in ids if f"{name}." in found]  # of a module: something that it holds
        assert entry or inside, "no part of book/api.md shows it"

    check_each(imported(), check)


def test_docstring_comes_out_as_it_was_written(page: Tag) -> None:
    """Its first paragraph, with all its ``|``, ``*`` and ``_``, without backticks; equation labels apart."""
    shown = plain(page.get_text())

    def check(name: str) -> None:
        assert docstring(name), f"snf_lite.{name} has no docstring"
        first = docstring(name).split("\n\n")[0].replace("`", "")
        lost = [piece for piece in LABEL.split(first) if plain(piece) not in shown]
        assert not lost

    check_each(snf_lite.__all__, check)


def test_arguments_described_are_arguments_taken() -> None:
    """In their order. Some are described under another, as ``split`` of ``evaluate`` is under ``data``."""

    def check(name: str) -> None:
        section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring(name), re.MULTILINE)
        described = re.findall(r"^    (\w+(?:, \w+)*):", section[1] if section else "", re.MULTILINE)
        told = [argument for group in described for argument in group.split(", ")]
        taken = inspect.signature(getattr(snf_lite, name)).parameters if told else ()
        assert told == [argument for argument in taken if argument in told]

    check_each(snf_lite.__all__, check)


def test_no_signature_and_no_description_is_left_raw(page: Tag) -> None:
    signatures = [tag.get_text() for tag in page.find_all("dt", class_="sig")]
    assert not [text for text in signatures if re.search(r"<factory>|<class '|~\w", text)]
    fields = [tag.get_text().strip() for tag in page.select("dl.field-list dd, dl.field-list li")]
    assert fields and not [text for text in fields if text.endswith("–")]
    assert not re.search(r":(raises|param|py|numbered)\b", page.get_text())


@pytest.mark.parametrize(
    ("written", "rst"),
    [
        ("|det J| and log|det W|", r"\|det J\| and log\|det W\|"),
        ("(B, *event_shape)", r"(B, \*event_shape)"),
        ("fill_ and W_1", r"fill\_ and W_1"),
        ("features: D.", r"features: D\."),
        (
            "through ``Flow.loss``, `load` and `load()`",
            "through :py:obj:`Flow.loss <Flow.loss>`, :py:obj:`load <load>` and :py:obj:`load() <load>`",
        ),
        ("``-log|J_|``, `a b`", "``-log|J_|``, ``a b``"),
        ("(eq-change), eq-a-bc.", "(:numbered:`eq-change`), :numbered:`eq-a-bc`."),
        ("W.T\n    >>> W.T * `2` # eq-a\n    x_ |\n\nx_ |", "W\\.T\n    >>> W.T * `2` # eq-a\n    x_ |\n\nx\\_ \\|"),
    ],
)
def test_what_a_docstring_says_is_made_safe(written: str, rst: str) -> None:
    assert as_rst(written) == rst


def test_an_equation_of_a_chapter_is_a_link_to_it(html: Path, page: Tag) -> None:
    entry = page.find(id="snf_lite.Flow.log_prob")
    assert isinstance(entry, Tag)
    link = entry.find_next("a", string=re.compile(r"^equation \d"))
    assert isinstance(link, Tag)
    chapter, _, place = str(link["href"]).partition("#")
    assert place == "equation-eq-change"
    assert BeautifulSoup((html / chapter).read_text("utf-8"), "html.parser").find(id=place)


def test_each_label_is_a_link_or_stays_as_it_is(html: Path, page: Tag) -> None:
    places = re.findall(r'id="equation-(eq-[\w-]+)"', "".join(path.read_text("utf-8") for path in html.glob("*.html")))
    targets = {str(a["href"]).partition("#equation-")[2] for a in page.find_all("a", href=True)}
    text = page.get_text()

    def check(label: str) -> None:
        as_text = re.search(rf"{label}(?![\w-])", text)
        assert (label in targets, bool(as_text)) == (label in places, label not in places)

    check_each(LABELS, check)


LINKED = [
    ("snf_lite.fit", "snf_lite.Flow"),  # a type in a signature
    ("snf_lite.SelfNormLinear", "snf_lite.dense.DensePair"),  # a base class
    ("snf_lite.evaluate", "snf_lite.fit"),  # a name in a sentence
    ("snf_lite.restore", "snf_lite.CheckpointError"),  # an error raised
    ("snf_book.slider.explore", "snf_book.slider.Frames"),
    ("snf_lite.analysis.figures.sample_grid", "snf_lite.analysis.figures.SampleFigure"),
]


def test_names_are_links(page: Tag) -> None:
    def check(case: tuple[str, str]) -> None:
        entry, target = case
        place = page.find(id=entry)
        assert isinstance(place, Tag) and isinstance(place.parent, Tag)
        assert place.parent.find("a", href=f"#{target}")

    check_each(LINKED, check)
