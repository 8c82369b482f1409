"""The first use of a term leads to the glossary, and the general index names the chapter."""

import re
from collections import Counter
from pathlib import Path

import pytest
from _ext.glossary_links import forms, pattern, terms
from article import article, markdown
from bs4 import BeautifulSoup, Tag
from each_case import check_each
from paths import ROOT, pages

CHAPTERS = [name for name in pages() if (ROOT / f"{name}.ipynb").exists()]
GLOSSARY = "book/glossary"
NEVER_IN = "h1, h2, h3, strong, pre, code, table, .math, .snf-exercise, .cell, a a"


def explained(html: Path) -> dict[str, str]:
    """Anchor → term, of the glossary's page."""
    found = article(html, GLOSSARY).select("dl.glossary dt")
    return {str(one["id"]): one.get_text().rstrip("#") for one in found}


def links(html: Path, name: str) -> list[Tag]:
    return [one.parent for one in article(html, name).select(".snf-term") if one.parent]


def test_a_chapter_links_its_terms_once_each_and_in_its_text_alone(html: Path) -> None:
    def check(name: str) -> None:
        found = links(html, name)
        targets = [str(link["href"]) for link in found]
        assert len(targets) >= 5 and max(Counter(targets).values()) == 1
        for link, target in zip(found, targets, strict=True):
            page, _, place = target.partition("#")
            words = "|".join(map(pattern, forms(explained(html)[place])))
            assert page == "glossary.html" and re.fullmatch(words, link.get_text()), f"{link.get_text()} → {place}"
            assert link.find_parent("p") and not link.find_parent(NEVER_IN.split(", "))
        inside = article(html, name).select(", ".join(f"{place} .snf-term" for place in NEVER_IN.split(", ")))
        assert not inside

    check_each(CHAPTERS, check)


def test_no_other_page_links_terms(html: Path) -> None:
    assert not [name for name in pages() if name not in CHAPTERS and links(html, name)]


def test_the_general_index_names_the_chapters_of_a_term(html: Path) -> None:
    index = BeautifulSoup((html / "genindex.html").read_text("utf-8"), "html.parser")
    places = {str(link["href"]) for link in index.select("a[href]")}
    listed = explained(html)
    assert not [place for place in listed if f"book/glossary.html#{place}" not in places]

    def check(name: str) -> None:
        for link in links(html, name):
            place = link.find_parent("span", id=True)
            assert place and f"{name}.html#{place['id']}" in places, link.get_text()

    check_each(CHAPTERS, check)


def test_the_glossary_lists_its_terms() -> None:
    found = terms(markdown(GLOSSARY))
    assert len(found) > 50 and {"Jacobian", "base density"} <= set(found)


@pytest.mark.parametrize(
    ("form", "text", "found"),
    [
        ("base density", "Base densities", "Base densities"),
        ("entropy", "the entropy of", "entropy"),
        ("tap", "all taps;", "taps"),
        ("tap", "a tape, to untap, tap-dancing", ""),
        ("AUC", "the AUC here", "AUC"),
        ("AUC", "the auc here", ""),
        ("Hutchinson's estimator", "by Hutchinson's\nestimator,", "Hutchinson's\nestimator"),
        ("LU factorization", "an lu factorization", ""),
    ],
)
def test_what_counts_as_a_use(form: str, text: str, found: str) -> None:
    hit = re.search(pattern(form), text)
    assert (hit[0] if hit else "") == found


def test_an_abbreviation_is_a_form_of_its_own() -> None:
    assert forms("area under the curve (AUC)") == ["area under the curve", "AUC"]
    assert forms("tap") == ["tap"]
