"""The table of pairs on the one page: every stored pair has its row, its numbers and its marks."""

import statistics
from collections.abc import Iterator
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup, Tag
from one_page import PAGE
from text import pair_table
from text.charts import Scale, through_zero
from text.pair_table import DATA, WITHOUT, Row, ahead, axis, beyond, distance, paper_gap, rows, signed, table
from text.placeholders import marks

from snf_lite.experiments.archive import records_root
from snf_lite.experiments.record import read_record
from snf_lite.experiments.results import comparisons, grouped, parities, read_all

#: The row whose self-normalizing model diverged, and so has no gap.
DIVERGED = "rate 0.01"
FOUND = rows()
GROUPS = grouped(read_all(records_root()))


def cells(row: Tag) -> list[str]:
    return [cell.text for cell in row.find_all(["th", "td"])]


@pytest.fixture(scope="module")
def body() -> Iterator[list[Tag]]:
    yield BeautifulSoup(table(FOUND), "html.parser").select("tbody tr")


def test_no_stored_pair_is_left_out() -> None:
    """Counted a second time from the results: on the page stands the number of all of them."""
    pairs = parities(GROUPS)
    shown = [row.learned for row in FOUND if row.learned]
    assert sorted(pair.mean for pair in shown) == sorted(pair.mean for pair in pairs)
    assert {pair.learned.data for pair in shown} == {pair.learned.data for pair in pairs}
    on_page = dict(marks(PAGE.read_text("utf-8")))
    behind = sum(pair.mean > 0 for pair in pairs)
    assert on_page["exact_ahead"] == f"{behind} of {len(pairs)}"
    assert on_page["median_gap"] == signed(statistics.median(pair.mean for pair in pairs), 1)


def test_nothing_beyond_the_paper_is_left_out() -> None:
    shown = sorted(row.beyond.mean for row in FOUND if row.beyond)
    assert shown == sorted(one.beyond.mean for one in comparisons(GROUPS))
    following = [row.beyond.mean for row in FOUND if row.beyond and row.variant not in WITHOUT.values()]
    lost = [row.beyond.mean for row in FOUND if row.beyond and row.variant in WITHOUT.values()]
    said = beyond(FOUND)
    assert said["beyond_run"] == str(len(following)) and len(following) + len(lost) == len(shown)
    assert said["beyond_most"].startswith(signed(max(following, key=abs)))
    assert all(signed(gap, 1) in said["beyond_lost"] for gap in lost)


def test_a_pair_on_new_data_is_an_error_and_not_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_table, "DATA", {name: words for name, words in DATA.items() if name != "fashion_mnist"})
    with pytest.raises(KeyError, match="dense, fashion_mnist"):
        rows()


def test_a_model_beyond_the_paper_without_the_papers_has_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lonely = [replace(one, paper=None) for one in comparisons(GROUPS)]
    monkeypatch.setattr(pair_table, "comparisons", lambda groups: lonely)
    found = [row for row in rows() if row.beyond]
    assert len(found) == len(lonely) and not any(row.learned for row in found)
    assert len(BeautifulSoup(table(found), "html.parser").select("tbody tr")) == len(lonely)


def test_a_row_gives_what_its_records_hold(body: list[Tag]) -> None:
    """Gap and exact value of each row with a single seed, read from the files."""
    checked = 0
    for row, shown in zip(FOUND, body, strict=True):
        if row.learned and row.seeds == 1:
            [mine], [twin] = row.learned.learned.records, list(row.exact.records)[:1]
            values = [read_record(records_root() / name / "record.json") for name in (mine, twin)]
            learned, exact = (float(record.results["test"]["nats"]) for record in values)
            assert cells(shown)[3:5] == [f"{exact:.1f}", signed(learned - exact)]
            checked += 1
    assert checked > 2


def test_rows_can_be_told_apart() -> None:
    names = [row.name for row in FOUND]
    assert len(names) == len(set(names)) and any("the paper's settings" in name for name in names)
    usual = {(row.exact.row.family, row.exact.data) for row in FOUND if row.usual}
    alone = [row.variant for row in FOUND if (row.exact.row.family, row.exact.data) not in usual]
    assert len(usual) > 5 and all(variant.startswith("λ = ") for variant in alone)  # where the usual λ diverged


def test_the_papers_gap_stands_once_in_each_family() -> None:
    given = [row for row in FOUND if paper_gap(row) is not None]
    assert [row.exact.row.family for row in given] == ["dense", "conv", "glow"]
    assert [signed(paper_gap(row) or 0, 1) for row in given] == ["−0.5", "+1.2", "−0.3"]


def test_every_pair_has_its_marks_on_the_scale(body: list[Tag]) -> None:
    scale = axis(FOUND)
    for row, shown in zip(FOUND, body, strict=True):
        discs = [float(str(disc["cx"])) for disc in shown.find_all("circle")]
        assert discs == ([round(scale(row.learned.mean), 1)] if row.learned else [])
        assert row.learned or row.variant in [*WITHOUT.values(), DIVERGED]
        assert len(shown.find_all("polygon")) == bool(row.beyond) + (paper_gap(row) is not None)
        lines = [one for one in shown.find_all("polyline") if not one.get("stroke-dasharray")]
        assert len(lines) == sum(len(pair.gaps) > 1 for pair in (row.learned, row.beyond) if pair)
        for place in " ".join(str(line["points"]) for line in lines).split():
            assert 0 < float(place.split(",")[0]) < pair_table.STRIP[0]


def test_the_axis_says_what_it_is() -> None:
    head = BeautifulSoup(table(FOUND), "html.parser").select_one("thead th:last-child")
    assert head and "signed logarithm" in head.text
    signed_scale = Scale(-4, 4, 0, 100, through_zero)
    assert round(signed_scale(0)) == 50 and round(signed_scale(-1) + signed_scale(1)) == 100


def test_sentences_are_about_all_rows() -> None:
    assert ahead(FOUND)["largest_gap"].startswith(signed(max(row.learned.mean for row in FOUND if row.learned), 1))
    apart = [row.learned.learned.sampling("relative_distance") for row in FOUND if row.learned]
    assert distance(FOUND)["most_apart"].startswith(f"{max(apart):.2f} (")
    half: list[Row] = [row for row in FOUND if "dense" not in row.name]
    assert distance(half) != distance(FOUND) and ahead(half) != ahead(FOUND)
