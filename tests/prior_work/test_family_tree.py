"""The family tree of prior work: complete, in the order of time, and with each name leading to its formulas."""

import io
import re
from itertools import pairwise

import nbformat
import pytest
import torch
from paths import ROOT
from PIL import Image
from snf_book.prior_work import record
from snf_book.prior_work.systems import SYSTEMS
from snf_book.prior_work.tree import family, glyphs, tiles

from snf_lite.experiments.archive import record_dir

PLACED = (*family.MEMBERS, family.TRUTH, family.KEY)


@pytest.fixture(scope="module")
def html() -> str:
    short = record.read(record_dir("prior-work") / record.FILE)
    longer = {name: entry["plane"] for name, entry in short["systems"].items()}
    truth = torch.zeros(8, 8, dtype=torch.float64)
    return family.FamilyTree(short["systems"], (-1.42, truth), "Densities & works.", longer).html()


def test_each_system_has_one_place_in_its_year() -> None:
    modeled = [one.name for one in family.MEMBERS if not one.paper]
    assert sorted(modeled) == sorted(system.name for system in SYSTEMS) == sorted(glyphs.SIGNS)
    places = [(one.column, one.row) for one in PLACED]
    assert len(set(places)) == len(places)
    for one in family.MEMBERS:
        first, last = covered(family.ROWS[one.row][0])
        assert first <= family.year_of(one) <= last, one.name


def test_no_year_has_two_labels() -> None:
    spans = [covered(label) for label in dict.fromkeys(label for label, _ in family.ROWS)]
    assert all(last < first for (_, last), (first, _) in pairwise(spans))


def covered(label: str) -> tuple[int, int]:
    """The first and the last year of a row's label."""
    years = [int(year) for year in re.findall(r"\d+", label)]
    if label.startswith("before"):
        return 0, years[0] - 1
    return years[0], 9999 if label.startswith("since") else years[-1]


def test_what_a_work_builds_on_is_older_and_in_the_tree() -> None:
    known = {one.name: one for one in family.MEMBERS}
    for one in family.MEMBERS:
        assert not one.after or family.year_of(known[one.after]) <= family.year_of(one), one.name
    assert all(known[name].after == "Glow" for name in ("Flow++", "emerging convolutions"))


def test_an_arrow_runs_to_each_work_below_in_the_same_column() -> None:
    known = {one.name: one for one in family.MEMBERS}
    wanted = [one.name for one in family.MEMBERS if one.after and known[one.after].column == one.column]
    assert family.arrows().count("marker-end") == len(wanted) > 10


def test_a_straight_arrow_crosses_no_cell(html: str) -> None:
    tops = [family._top(row) for row in range(len(family.ROWS) + 1)]
    lines = re.findall(r'<line x1="([\d.]+)%" y1="(\d+)" x2="([\d.]+)%" y2="(\d+)"', html)
    assert len(lines) > 8
    for left, start, right, end in lines:
        column = int(float(left) * family.COLUMNS // 100)
        assert left == right and int(start) < int(end)
        for one in PLACED:
            inside = (
                one.column == column and tops[one.row] + 8 < int(end) and int(start) < tops[one.row + one.height] - 8
            )
            assert not inside, (one.name, start, end)


def test_each_density_is_shown_short_and_long_with_words_for_those_who_cannot_see_it(html: str) -> None:
    alts = re.findall(r'<img(?: class="\w+")? alt="([^"]+)" src="data:image/png;base64,[\w+/=]+">', html)
    assert len(alts) == html.count("<img") == 2 * len(SYSTEMS) + 1
    assert all(
        f"Density of {system.name}, {which}" in alts for system in SYSTEMS for which in ("longer run", "600 steps")
    )
    assert "<figcaption>Densities &amp; works.</figcaption>" in html
    assert len(html) < 700_000


def test_without_longer_runs_there_is_nothing_to_switch() -> None:
    short = record.read(record_dir("prior-work") / record.FILE)["systems"]
    html = family.FamilyTree(short, (-1.42, torch.zeros(8, 8, dtype=torch.float64)), "Densities.").html()
    assert "<input" not in html and html.count("<img") == len(SYSTEMS) + 1


def test_a_name_leads_to_its_formulas_and_to_what_it_gives_up(html: str) -> None:
    notebook = nbformat.read(ROOT / "book" / "prior-work.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    portraits = dict(re.findall(r'^- <a id="([\w-]+)"></a>(.*(?:\n  .*)*)$', text, re.MULTILINE))
    linked = re.findall(r'href="#([\w-]+)"', html)
    assert sorted(linked) == sorted(portraits) == sorted(family.anchor(system.name) for system in SYSTEMS)
    for system in SYSTEMS:
        portrait = portraits[family.anchor(system.name)]
        assert system.gives_up in portrait and (system is SYSTEMS[-1] or str(system.year) in portrait), system.name
        parts = ("Map", "Inverse", "Cost") if system is not SYSTEMS[-1] else ()
        assert all(f"{part}:* " in portrait for part in parts), system.name


def test_a_tile_clips_what_is_brighter_than_its_scale() -> None:
    density = torch.zeros(10, 10, dtype=torch.float64)
    density[:, 5:] = 9.0
    image = Image.open(io.BytesIO(tiles.tile(density)))
    shades = [sum(image.convert("RGB").getpixel((x, 120))) for x in (5, 100, 140, 235)]  # type: ignore[arg-type]
    assert image.size == (tiles.SIDE, tiles.SIDE) and len(image.getcolors() or []) <= tiles.COLORS
    assert shades[0] == shades[1] < shades[2] == shades[3]


def test_signs_differ() -> None:
    drawn = [glyphs.sign(kind) for kind in glyphs.MATRICES]
    assert len({re.sub('aria-label="[^"]*"', "", sign) for sign in drawn}) == len(drawn)
    assert all(words in glyphs.key() for words, _ in glyphs.MATRICES.values())
