"""Each line of the map from the paper to the book leads to a section, a function and a test that are there."""

import ast
import functools
import re

import pytest
from bs4 import BeautifulSoup
from built_book import built_book
from each_case import check_each
from paths import ROOT
from reference.paper_map import (
    FIELDS,
    PAGE,
    Line,
    book,
    checks,
    functions,
    groups,
    headings,
    link,
    listed,
    page,
    sections,
)
from reference.paper_map import section_of as where
from text.equations import linked, registry, resolved

from snf_lite.experiments.paper_tables import ROWS

LINES = [line for lines in groups().values() for line in lines]
#: What has to be there, by what the place begins with: the groups of the talk's slides, and the paper's tables.
SLIDES = {
    "Prior Work": 9,
    "Gradient of the determinant": 2,
    "Self-Normalizing Flows": 5,
    "Fully-Connected": 1,
    "Convolutional": 2,
    "Experiments": 4,
}


@functools.cache
def defined_in(file: str) -> set[str]:
    """The names of the tests in a file, as Python reads it."""
    module = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make notebooks`"


def place(line: Line) -> str:
    return str(line.get("place"))


def test_a_line_says_what_it_is_and_where_or_why_not() -> None:
    def check(line: Line) -> None:
        assert set(line) <= FIELDS and line["place"] and line["says"]
        if "absent" in line:
            assert len(line["absent"].split()) > 5, "say why"
            assert not sections(line)
        else:
            assert sections(line) and functions(line) and checks(line)
        assert bool(functions(line)) == bool(checks(line)), "a function without a test, or a test of nothing"

    check_each(LINES, check, place)


def test_sections_exist() -> None:
    def check(line: Line) -> None:
        for section in sections(line):
            name, _, heading = section.partition("#")
            assert headings(book()[name][1]).count(heading) == 1, section

    check_each(LINES, check, place)


def test_functions_exist() -> None:
    def check(line: Line) -> None:
        for name in functions(line):
            assert callable(resolved(name)), name

    check_each(LINES, check, place)


def test_tests_exist() -> None:
    def check(line: Line) -> None:
        for test in checks(line):
            file, _, name = test.partition("::")
            assert name in defined_in(file), test

    check_each(LINES, check, place)


def test_equations_are_numbered_ones() -> None:
    def check(line: Line) -> None:
        assert set(listed(line, "equation")) <= set(registry())

    check_each(LINES, check, place)


def test_places_are_told_apart() -> None:
    for heading, lines in groups().items():
        places = [line["place"] for line in lines]
        assert len(set(places)) == len(places), heading


def test_every_group_of_slides_is_there() -> None:
    places = [line["place"] for line in groups()["The talk, slide by slide"]]
    assert {name: sum(place.startswith(name) for place in places) for name in SLIDES} == SLIDES
    assert len(places) == sum(SLIDES.values())


def test_every_row_of_the_papers_tables_is_on_one_line() -> None:
    named = [row for line in LINES for row in listed(line, "rows")]
    assert sorted(named) == sorted(ROWS)


def test_an_equation_is_found_in_its_section() -> None:
    assert where("eq-objective") == "a-learned-inverse#Two likelihoods"
    assert where("eq-dense-gradients") == "a-learned-inverse#The dense layer"
    with pytest.raises(KeyError):
        where("eq-of-nobody")


def test_functions_are_linked_where_they_are_described() -> None:
    assert linked("snf_lite.Flow.loss") == "{py:obj}`Flow.loss <snf_lite.Flow.loss>`"
    assert linked("snf_lite.SelfNormLinear.invert") == "{py:obj}`SelfNormLinear.invert <snf_lite.SelfNormLinear>`"


def test_a_bar_in_a_heading_does_not_end_a_cell() -> None:
    assert "|" not in link("the-gradient-of-log-det#log|det J|")


def test_tests_are_folded_away() -> None:
    text = PAGE.read_text("utf-8")
    folded = re.findall(r"^:::\{dropdown\}.*?^:::$", text, re.MULTILINE | re.DOTALL)
    assert sum(part.count("::test_") for part in folded) == text.count("::test_") > len(LINES) / 2
    assert len(folded) == sum(any(map(checks, lines)) for lines in groups().values())


def test_links_to_sections_lead_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On the built page: each section's link, and a link to each equation and each function that a page describes."""
    html = built_book(tmp_path_factory)
    soup = BeautifulSoup((html / "book" / PAGE.name).with_suffix(".html").read_text("utf-8"), "html.parser")
    targets = [str(a["href"]) for a in soup.select("article td a[href]")]
    wanted = {re.findall(r'href="([^"]+)"', link(section))[0] for line in LINES for section in sections(line)}
    assert wanted <= set(targets)
    numbered = {target.partition("#equation-")[2] for target in targets}
    assert {label for line in LINES for label in listed(line, "equation")} <= numbered
    for target in wanted:
        file, _, place = target.partition("#")
        assert f'id="{place}"' in (html / "book" / file).read_text("utf-8")
    plain = {code.text for code in soup.select("article td code.xref") if code.find_parent("a") is None}
    assert not plain, "functions that no page describes"
