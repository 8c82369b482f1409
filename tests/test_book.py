"""The book as it is stored and as it is built. That its notebooks still show what they show is nbval's part."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from built_book import built_book
from refresh import ROOT, RUNTIME, RUNTIMES, first_cell, notebooks, pages, public_address, runtime_words

import snf_lite

MEGABYTE = 1_000_000
LOADED_BY = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data"}
LOADING_LINKS = {"stylesheet", "preload", "modulepreload", "icon", "shortcut", "prefetch", "manifest", "preconnect"}
ELSEWHERE = re.compile(r"^(https?:)?//")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|private|mnt)/\w|[A-Z]:\\\\?Users|/site-[p]ackages/")
EACH_NOTEBOOK = pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def outputs(path: Path) -> Iterator[tuple[nbformat.NotebookNode, nbformat.NotebookNode]]:
    yield from ((cell, output) for cell in code_cells(path) for output in cell.outputs)


def tracked_text() -> list[Path]:
    """Every text file that is in the repository, or is about to be."""
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so nothing tells which files belong to the project")
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    paths = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


# -- what is stored ---------------------------------------------------------------------------------------------------


def test_every_page_of_the_contents_exists() -> None:
    missing = [page for page in pages() if not any((ROOT / f"{page}{suffix}").exists() for suffix in (".md", ".ipynb"))]
    assert not missing
    assert notebooks(), "a book without a notebook"


def test_every_notebook_is_in_the_contents() -> None:
    """nbval tests all notebooks in the folder; a page that is not in the contents would be tested and never shown."""
    assert set((ROOT / "book").glob("**/*.ipynb")) == set(notebooks())


@EACH_NOTEBOOK
def test_cells_were_run_in_order_without_errors(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run `make notebooks`"
    for cell, output in outputs(path):
        expected = "raises-exception" in cell.metadata.get("tags", [])
        assert output.output_type != "error" or expected, f"{output.ename}: {output.evalue}"
        assert output.get("name") != "stderr", f"a warning is stored: {output.text}"


@EACH_NOTEBOOK
def test_is_stored_as_refresh_stores_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}, "run `make notebooks`"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"jupyter", "mystnb", "tags"}, "run `make notebooks`"


@EACH_NOTEBOOK
def test_is_small(path: Path) -> None:
    assert path.stat().st_size <= MEGABYTE


@EACH_NOTEBOOK
def test_first_cell_installs_the_package_or_does_nothing(path: Path) -> None:
    assert code_cells(path)[0].source == first_cell(), "run `make notebooks`"


@EACH_NOTEBOOK
def test_every_picture_has_words(path: Path) -> None:
    for cell, output in outputs(path):
        data = output.get("data", {})
        if any(kind.startswith("image/") for kind in data):
            words = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(words.split()) >= 3, f"no alternative text (mystnb.image.alt) for the picture of\n{cell.source}"
        for image in BeautifulSoup(data.get("text/html", ""), "html.parser").find_all("img"):
            assert len(str(image.get("alt", "")).split()) >= 3, f"an <img> without alternative text from\n{cell.source}"


@EACH_NOTEBOOK
def test_every_moving_figure_is_shown(path: Path) -> None:
    """`explore(...)` shows itself only as a cell's last expression."""
    for cell in code_cells(path):
        if re.search(r"^explore\(", cell.source, re.MULTILINE):
            shown = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
            assert shown.count('type="range"') == 1, f"end the cell with explore(...):\n{cell.source}"


@EACH_NOTEBOOK
def test_stored_pictures_are_what_they_claim(path: Path) -> None:
    for _, output in outputs(path):
        if picture := output.get("data", {}).get("image/png"):
            assert base64.b64decode(picture).startswith(b"\x89PNG\r\n")


@EACH_NOTEBOOK
def test_shows_nothing_that_no_page_can_show(path: Path) -> None:
    """Widgets and progress bars need a kernel, and a trailing semicolon hides what nbval would compare."""
    for cell in code_cells(path):
        assert not cell.source.rstrip().endswith(";"), f"end a figure's cell with plt.show():\n{cell.source}"
        assert not re.search(r"tqdm\.(auto|notebook)|clear_output|\binteract\(", cell.source), cell.source
    for cell, output in outputs(path):
        assert not any("widget" in kind for kind in output.get("data", {})), f"a stored widget:\n{cell.source}"


def test_hardly_any_output_goes_uncompared() -> None:
    cells = [cell for path in notebooks() for cell in code_cells(path)]
    ignored = [
        cell.source
        for cell in cells
        if {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", []))
        or re.search(r"#\s*(NBVAL_IGNORE_OUTPUT|NBVAL_SKIP|PYTEST_VALIDATE_IGNORE_OUTPUT)", cell.source)
    ]
    print(f"{len(ignored)} of {len(cells)} code cells are not compared")
    assert len(ignored) < 0.03 * len(cells), "\n---\n".join(ignored)


@EACH_NOTEBOOK
def test_the_run_time_it_states_was_measured(path: Path) -> None:
    seconds = json.loads(RUNTIMES.read_text("utf-8"))[path.relative_to(ROOT).as_posix()]
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    stated = [found.group() for found in RUNTIME.finditer(text)]
    assert stated, "say how long it takes: <!-- runtime -->…<!-- /runtime -->, which `make notebooks` fills in"
    assert all(runtime_words(seconds) in words for words in stated), "run `make notebooks`"


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


def test_every_numbered_equation_is_somewhere_in_the_package() -> None:
    """A label of the book stands in a docstring of the function that computes it, where a reader can search for it."""
    pages_text = "\n".join(path.read_text("utf-8") for path in [*notebooks(), *(ROOT / "book").glob("*.md")])
    labels = set(re.findall(r"\$\$ \((eq-[\w-]+)\)", pages_text))
    package = "\n".join(path.read_text("utf-8") for path in (ROOT / "snf_lite").glob("*.py"))
    assert labels and labels <= set(re.findall(r"eq-[\w-]+\w", package))


# -- what is built ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_book(tmp_path_factory)


def soups(html: Path) -> Iterator[tuple[Path, BeautifulSoup]]:
    for path in sorted(html.rglob("*.html")):
        if "_static" not in path.parts:
            yield path, BeautifulSoup(path.read_text("utf-8"), "html.parser")


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


def test_pages_load_nothing_from_elsewhere(html: Path) -> None:
    outside = {f"{path.name}: {url}" for path, soup in soups(html) for url in loaded(soup) if ELSEWHERE.match(url)}
    styles = {
        f"{path.name}: {url}"
        for path in html.rglob("*.css")
        for url in re.findall(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")]+)", path.read_text("utf-8"))
    }
    assert not outside | styles


def test_links_between_pages_lead_somewhere(html: Path) -> None:
    ids = {path.resolve(): {str(tag["id"]) for tag in soup.find_all(id=True)} for path, soup in soups(html)}
    dead = []
    for path, soup in soups(html):
        anchors = [str(tag["href"]) for tag in soup.find_all("a", href=True) if isinstance(tag, Tag)]
        for url in [*anchors, *loaded(soup)]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in ids and place not in ids[target]):
                dead.append(f"{path.name}: {url}")
    assert not dead


def test_colab_opens_the_notebook_that_is_there(html: Path) -> None:
    base = public_address().removeprefix("https://github.com/")
    for path in notebooks():
        place = path.relative_to(ROOT).as_posix()
        page = (html / place).with_suffix(".html").read_text("utf-8")
        assert f"https://colab.research.google.com/github/{base}/blob/main/{place}" in page


# -- the first cell, where the package is not installed ---------------------------------------------------------------


def everything_but_the_package(folder: Path) -> Path:
    """This environment's packages again, without snf_lite: a stand-in for Colab, which has all the others."""
    site = Path(yaml.__file__).parents[1]
    folder.mkdir()
    for entry in site.iterdir():
        if not re.search(r"snf_lite|^_virtualenv|\.pth$|^__pycache__$", entry.name):
            (folder / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
    return folder


def as_public_repository(folder: Path) -> Path:
    """A git repository with what pip needs to build the package."""
    shutil.copytree(ROOT / "snf_lite", folder / "snf_lite", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, folder)
    identity = ["-c", "user.name=a reader", "-c", "user.email=reader@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "the package"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


@pytest.mark.skipif(os.name == "nt" or not shutil.which("git"), reason="needs git and symbolic links")
def test_first_cell_installs_the_package_alone(tmp_path: Path) -> None:
    """In a fresh environment and an empty folder, from the very address in the cell, led by git to this checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    own = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (own / "others.pth").write_text(f"{everything_but_the_package(tmp_path / 'others')}\n")
    public = as_public_repository(tmp_path / "public")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")},
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{public.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": public_address(),
        "PIP_NO_BUILD_ISOLATION": "0",  # read as the answer to "isolate?": build with the setuptools at hand
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    session = tmp_path / "session.ipy"
    session.write_text(first_cell() + "\nprint('names', len(snf.model_names()), 'from', snf.__file__)\n")
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "python", "-m", "IPython", "--no-banner", "--colors=nocolor", session],
        cwd=tmp_path / "empty",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(own / "snf_lite") in done.stdout, done.stdout
    installed = {entry.name.split("-")[0] for entry in own.glob("*.dist-info")}
    assert installed == {"snf_lite"}, f"the first cell installed more than the package: {installed}"
