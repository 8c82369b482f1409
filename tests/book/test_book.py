"""The book as it is stored and as it is built. That its notebooks still show what they show is nbval's part."""

import base64
import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import status
import yaml
from address import FIRST_PAGES
from bs4 import BeautifulSoup, Tag
from built_book import built_book
from each_case import check_each
from paths import ROOT, RUNTIMES, first_cell, notebooks, pages, public_address, text_files, unpublished
from run_notebooks import FOLDED, runtime_words
from text.placeholders import RUNTIME, marks, measurements, typed_results

import snf_lite

MEGABYTE = 1_000_000
LOADED_BY = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data"}
LOADING_LINKS = {"stylesheet", "preload", "modulepreload", "icon", "shortcut", "prefetch", "manifest", "preconnect"}
ELSEWHERE = re.compile(r"^(https?:)?//")
#: A panel by its side: a word of a caption, of the text, or of what is said in place of a picture.
SIDE = re.compile(r"\b(left|right)\b(?! angles)|\bmiddle:|\(middle", re.IGNORECASE)
BESIDE = re.compile(r"\bon the (left|right)\b|\b(left|right) panel\b|\bthe left one\b", re.IGNORECASE)
SPOKEN = re.compile(rf"{BESIDE.pattern}|\b(left|right):", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|private|mnt)/\w|[A-Z]:\\\\?Users|/site-[p]ackages/")


@functools.cache
def stored(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def each_notebook(check: Callable[[Path], None]) -> Callable[[], None]:
    """A test of every notebook of the book, out of what holds of one."""

    def test() -> None:
        check_each(notebooks(), check, lambda path: path.name)

    test.__doc__ = check.__doc__
    return test


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in stored(path).cells if cell.cell_type == "code"]


def outputs(path: Path) -> Iterator[tuple[nbformat.NotebookNode, nbformat.NotebookNode]]:
    yield from ((cell, output) for cell in code_cells(path) for output in cell.outputs)


def tracked_text() -> list[Path]:
    """Every text file that is in the repository, or is about to be."""
    try:
        return text_files()
    except FileNotFoundError as error:
        pytest.skip(str(error))


# -- what is stored ---------------------------------------------------------------------------------------------------


def test_every_page_of_the_contents_exists() -> None:
    missing = [page for page in pages() if not any((ROOT / f"{page}{suffix}").exists() for suffix in (".md", ".ipynb"))]
    assert not missing
    assert notebooks(), "a book without a notebook"


def test_every_notebook_is_in_the_contents() -> None:
    """nbval tests all notebooks in the folder; a page that is not in the contents would be tested and never shown."""
    assert set((ROOT / "book").glob("**/*.ipynb")) == set(notebooks())


@each_notebook
def test_cells_were_run_in_order_without_errors(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run `make notebooks`"
    for cell, output in outputs(path):
        expected = "raises-exception" in cell.metadata.get("tags", [])
        assert output.output_type != "error" or expected, f"{output.ename}: {output.evalue}"
        assert output.get("name") != "stderr", f"a warning is stored: {output.text}"


@each_notebook
def test_is_stored_as_refresh_stores_it(path: Path) -> None:
    notebook = stored(path)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}, "run `make notebooks`"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"jupyter", "mystnb", "tags"}, "run `make notebooks`"


@each_notebook
def test_is_small(path: Path) -> None:
    assert path.stat().st_size <= MEGABYTE


@each_notebook
def test_first_cell_installs_the_package_or_does_nothing(path: Path) -> None:
    first = code_cells(path)[0]
    assert first.source == first_cell() and first.metadata.tags == FOLDED, "run `make notebooks`"


@each_notebook
def test_every_picture_has_words(path: Path) -> None:
    for cell, output in outputs(path):
        data = output.get("data", {})
        if any(kind.startswith("image/") for kind in data):
            words = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(words.split()) >= 3, f"no alternative text (mystnb.image.alt) for the picture of\n{cell.source}"
        for image in BeautifulSoup(data.get("text/html", ""), "html.parser").find_all("img"):
            if image.find_parent(class_="snf-frame") and image.find_previous_sibling("img"):
                continue  # the first picture of a frame has the words of all
            assert len(str(image.get("alt", "")).split()) >= 3, f"an <img> without alternative text from\n{cell.source}"


@each_notebook
def test_every_moving_figure_is_shown(path: Path) -> None:
    """`explore(...)` shows itself only as a cell's last expression."""
    for cell in code_cells(path):
        if re.search(r"^explore\(", cell.source, re.MULTILINE):
            shown = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
            assert shown.count('type="range"') == 1, f"end the cell with explore(...):\n{cell.source}"


def test_figures_have_names_of_their_own() -> None:
    """In the whole book: a link to one leads there from any chapter."""
    html = "".join(output.get("data", {}).get("text/html", "") for path in notebooks() for _, output in outputs(path))
    names = Counter(re.findall(r'<figure class="snf-[^"]*" id="([^"]+)"', html))
    assert names and not [name for name, count in names.items() if count > 1]


def by_side(html: str) -> list[str]:
    """Captions and texts that call a panel by its side, of figures whose panels are drawings of their own."""
    figures = BeautifulSoup(html, "html.parser").select("figure.snf-figure:has(img + img):has(> figcaption)")
    captions = [figure.find("figcaption").get_text() for figure in figures]  # type: ignore[union-attr]
    texts = [str(image["alt"]) for figure in figures for image in figure.select("img[alt]")]
    return [*filter(SIDE.search, captions), *filter(SPOKEN.search, texts)]


@each_notebook
def test_no_panel_is_called_by_its_side(path: Path) -> None:
    """On a phone panels stand below one another: they are named by their titles, or by what their axes show."""
    found = [caption for _, output in outputs(path) for caption in by_side(output.get("data", {}).get("text/html", ""))]
    assert not found, "\n".join(found)
    assert not BESIDE.search(prose(path))


def test_captions_that_call_panels_by_their_side_are_found() -> None:
    panels = '<figure class="snf-figure"><div class="snf-frame"><img><img></div><figcaption>{}</figcaption></figure>'
    for caption in ("<em>Left:</em> a line.", "A line (right).", "<em>left</em> one", "Two. <em>Middle:</em> one"):
        assert by_side(panels.format(caption)), caption
    assert not by_side(panels.format("The arrows are at right angles, the middle of the cloud stays."))
    assert not by_side(panels.replace("<img><img>", "<img>").format("<em>Left:</em> a line."))
    spoken = panels.replace("<img>", '<img alt="A line on the left.">', 1)
    assert by_side(spoken.format("A line.")) == ["A line on the left."]


@each_notebook
def test_pictures_are_described_with_a_minus_and_not_a_hyphen(path: Path) -> None:
    html = "".join("".join(output.get("data", {}).get("text/html", "")) for _, output in outputs(path))
    texts = [str(image["alt"]) for image in BeautifulSoup(html, "html.parser").select("img[alt]")]
    assert not [text for text in texts if re.search(r"(?<![\w–-])-\d", text)]


@each_notebook
def test_stored_pictures_are_what_they_claim(path: Path) -> None:
    for _, output in outputs(path):
        if picture := output.get("data", {}).get("image/png"):
            assert base64.b64decode(picture).startswith(b"\x89PNG\r\n")


@each_notebook
def test_shows_nothing_that_no_page_can_show(path: Path) -> None:
    """Widgets and progress bars need a kernel, and a trailing semicolon hides what nbval would compare."""
    for cell in code_cells(path):
        assert not cell.source.rstrip().endswith(";"), f"end a figure's cell with plt.show():\n{cell.source}"
        assert not re.search(r"tqdm\.(auto|notebook)|clear_output|\binteract\(", cell.source), cell.source
    for cell, output in outputs(path):
        assert not any("widget" in kind for kind in output.get("data", {})), f"a stored widget:\n{cell.source}"


def test_hardly_any_output_goes_uncompared() -> None:
    book = status.chapters()
    ignored, cells = (sum(counts) for counts in zip(*((len(c.uncompared), len(c.code)) for c in book), strict=True))
    print(f"{ignored} of {cells} code cells are not compared")
    assert ignored < 0.03 * cells, status.uncompared(book)


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in stored(path).cells if cell.cell_type == "markdown")


@each_notebook
def test_numbers_in_the_text_are_those_of_the_run(path: Path) -> None:
    """Each mark holds what the stored run measured, and each thing measured for the text is in it."""
    seconds = json.loads(RUNTIMES.read_text("utf-8"))[path.relative_to(ROOT).as_posix()]
    measured = {RUNTIME: runtime_words(seconds), **measurements(stored(path))}
    stated = marks(prose(path))
    assert {name for name, _ in stated} == set(measured)
    assert all(measured[name] == number for name, number in stated), "run `make notebooks`"


@each_notebook
def test_no_result_is_typed_into_the_text(path: Path) -> None:
    assert not typed_results(prose(path)), "let the run say it: snf_book.measured.measured, and a mark in the text"


def test_typed_results_are_found() -> None:
    text = "a <!-- gap -->1.08<!-- / --> is 1.3, [2](x.ipynb#a-1.5), $0.3x$, `0.7`, 8×8, at 20 % or 12 nats, v. 1.2.3"
    assert typed_results(text) == ["1.3", "20 %", "12 nats"]


def test_the_public_address_is_the_same_everywhere() -> None:
    address = public_address()
    owner, name = address.removeprefix("https://github.com/").split("/")
    for path in ["pyproject.toml", "CITATION.cff", "README.md"]:
        assert address in (ROOT / path).read_text("utf-8"), f"{path} does not give {address}"
    code = rf"github\.com[/:](?!{owner}/)[\w.-]+/{name}\b"
    site = rf"(?<![\w.-])(?!{owner}\.)[\w-]+\.github\.io/{name}\b"
    others = re.compile(f"{code}|{site}")
    wrong = {
        path.name: found.group()
        for path in tracked_text()
        if (found := others.search(path.read_text("utf-8", "replace")))
    }
    assert not wrong


def test_pages_say_so_while_the_public_address_is_a_placeholder() -> None:
    for path in FIRST_PAGES:
        said = dict(marks(path.read_text("utf-8")))["placeholder"]
        assert said == unpublished(public_address()), f"{path.name}: run `make address` with the address as it is"


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == snf_lite.__version__


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in tracked_text()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "data/README.md"])
def test_links_inside_the_project_lead_somewhere(name: str) -> None:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"there is no {name}")
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"", path.read_text("utf-8"))
    local = [target for pair in targets for target in pair if target and not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in local if not (path.parent / unquote(target.split("#")[0])).exists()]
    assert not missing


# -- what is built ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_book(tmp_path_factory)


@dataclass(frozen=True)
class Page:
    """What the tests ask of a built page, so that each of them is parsed once."""

    ids: set[str]
    anchors: list[str]
    loaded: list[str]


@pytest.fixture(scope="module")
def built(html: Path) -> dict[Path, Page]:
    paths = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    return {path.resolve(): page(BeautifulSoup(path.read_text("utf-8"), "html.parser")) for path in paths}


def page(soup: BeautifulSoup) -> Page:
    ids = {str(tag["id"]) for tag in soup.find_all(id=True)}
    anchors = [str(tag["href"]) for tag in soup.find_all("a", href=True) if isinstance(tag, Tag)]
    return Page(ids, anchors, list(loaded(soup)))


def loaded(soup: BeautifulSoup) -> Iterator[str]:
    """What a browser fetches by itself when it opens the page."""
    for tag in soup.find_all(list(LOADED_BY)):
        yield str(tag.get(LOADED_BY[tag.name]) or "")
    for tag in soup.find_all("link"):
        if LOADING_LINKS & {str(rel).lower() for rel in tag.get_attribute_list("rel")}:
            yield str(tag.get("href") or "")
    styles = [tag.string or "" for tag in soup.find_all("style")]
    for style in [*styles, *(str(tag["style"]) for tag in soup.find_all(style=True))]:
        yield from re.findall(r"url\(['\"]?([^'\")]+)", style)


def test_builds_without_a_warning(html: Path) -> None:
    missing = [page for page in pages() if not (html / f"{page}.html").exists()]
    assert not missing
    assert (html / "index.html").exists()


def test_pages_load_nothing_from_elsewhere(html: Path, built: dict[Path, Page]) -> None:
    outside = {f"{path.name}: {url}" for path, page in built.items() for url in page.loaded if ELSEWHERE.match(url)}
    styles = {
        f"{path.name}: {url}"
        for path in html.rglob("*.css")
        for url in re.findall(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")]+)", path.read_text("utf-8"))
    }
    assert not outside | styles


def test_links_between_pages_lead_somewhere(built: dict[Path, Page]) -> None:
    dead = []
    for path, page in built.items():
        for url in [*page.anchors, *page.loaded]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in built and place not in built[target].ids):
                dead.append(f"{path.name}: {url}")
    assert built and not dead


def test_colab_opens_the_notebook_that_is_there(html: Path) -> None:
    base = public_address().removeprefix("https://github.com/")
    for path in notebooks():
        place = path.relative_to(ROOT).as_posix()
        page = (html / place).with_suffix(".html").read_text("utf-8")
        assert f"https://colab.research.google.com/github/{base}/blob/main/{place}" in page
