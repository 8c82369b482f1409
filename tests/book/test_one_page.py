"""The paper on one page: its formulas are the chapters', its numbers the records', and it is one page."""

import re
from pathlib import Path

from browser import opened
from bs4 import BeautifulSoup
from one_page import FIVE, PAGE, between, cases, cost_chart, counted, formulas, page, picture, values, whole_models
from paths import ROOT, pages
from playwright.sync_api import BrowserContext
from test_book import typed_results
from text.chapters import chapters
from text.charts import Scale
from text.equations import registry
from text.pair_table import signed
from text.placeholders import marks, without_marks

pytest_plugins = ["browser_fixtures"]
TEXT = PAGE.read_text("utf-8")


def test_the_page_is_up_to_date() -> None:
    assert TEXT == page(), "run `make notebooks`"


def test_it_stands_behind_the_first_page_and_moves_no_number() -> None:
    assert pages()[:3] == ["book/welcome", "book/one-page", "book/why-densities"]
    assert next(name for name in pages() if (ROOT / f"{name}.ipynb").exists()) == pages()[3]


# ---- the five equations ----------------------------------------------------------------------------------------------


def test_five_formulas_are_those_of_their_chapters() -> None:
    """Read here a second time, without the generator: cell by cell, between the signs in front of the label."""
    shown = [formula.strip() for formula in re.findall(r"\$\$\n(.+?)\n\$\$", TEXT, re.DOTALL)]
    wanted = []
    for label in FIVE:
        [cell] = [c.source for chapter in chapters() for c in chapter.notebook.cells if f"$$ ({label})" in c.source]
        wanted.append(cell.split(f"$$ ({label})")[0].rsplit("$$", 1)[1].strip().rstrip(" .,"))
    assert shown == wanted and len(shown) == 5


def test_every_numbered_formula_is_found() -> None:
    assert set(formulas()) == set(registry())
    assert all("$$" not in formula for formula in formulas().values())


def test_each_formula_leads_to_its_place_and_its_function() -> None:
    for label in FIVE:
        function = registry()[label]["function"]
        assert TEXT.count(f"[{label}](#{label})") == 1
        assert f"`{function.removeprefix('snf_lite.')} <" in TEXT
    assert not re.search(r"\$\$\s*\(eq-", TEXT), "a formula of this page has a label of its own"


# ---- the numbers -----------------------------------------------------------------------------------------------------


def test_no_number_is_typed() -> None:
    assert not typed_results(without_marks(TEXT))
    assert {name for name, _ in marks(TEXT)} == set(values())


def test_a_number_begins_no_line() -> None:
    """There its mark would begin a block of HTML and break the paragraph."""
    assert not re.findall(r"^<!-- (?!/)\w+ -->[^\n]+$", TEXT, re.MULTILINE)


def test_counts_are_those_of_the_chapter_on_cost() -> None:
    [chapter] = [chapter for chapter in chapters() if chapter.path.stem == "what-it-costs"]
    outputs = (output.get("data", {}) for cell in chapter.code for output in cell.outputs)
    [table] = [data["text/plain"] for data in outputs if 'id="table-turned"' in data.get("text/html", "")]
    counts = re.findall(r"(exact faster than learned|learned faster than exact) +(\d+) +(\d+)$", table, re.MULTILINE)
    won = counted(cases())
    assert {words: f"{part} of {whole}" for words, part, whole in counts} == {
        "exact faster than learned": won["exact_wins"],
        "learned faster than exact": won["learned_wins"],
    }


def test_counts_are_over_the_right_cases() -> None:
    ratios = {(8, 64): 2.0, (9, 64): 0.5, (300, 256): 1.0, (256, 256): 0.1, (100, 32): 0.1, (600, 512): 1.1}
    assert counted(ratios) == {"learned_wins": "1 of 1", "exact_wins": "1 of 2"}


def test_a_time_that_two_records_have_is_given_as_a_range() -> None:
    assert between([1.17, 1.7], 1) == "1.2 to 1.7" and between([1.06, 1.061], 2) == "1.06"
    assert all(len(whole_models(family)) == 2 for family in ("dense", "conv"))
    assert signed(-0.004) == signed(0.0) == "0.00" and signed(-0.006) == "−0.01" and signed(0.16) == "+0.16"


# ---- the picture -----------------------------------------------------------------------------------------------------


def test_every_step_of_the_left_chart_is_on_its_side_of_the_line() -> None:
    drawn = BeautifulSoup(cost_chart(cases()), "html.parser")
    [line] = [one for one in drawn.find_all("polyline") if one.get("stroke-dasharray")]
    level = float(str(line["points"]).split(",")[1].split()[0])
    *batch32, key = [float(str(disc["cy"])) for disc in drawn.find_all("circle")]
    assert key < 30  # that of the legend, above the chart
    wanted = [ratio > 1 for (batch, size), ratio in sorted(cases().items()) if batch == 32 and size >= 256]
    assert [y < level for y in batch32] == wanted and len(batch32) > 3


def test_pictures_stay_in_their_frames_and_have_words() -> None:
    charts = BeautifulSoup(picture(), "html.parser").select("svg.snf-chart")
    assert len(charts) == 1
    for chart in charts:
        _, _, width, height = map(float, str(chart["viewbox"]).split())
        places = [place.split(",") for one in chart.find_all(points=True) for place in str(one["points"]).split()]
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places) and places
        for disc in chart.find_all("circle"):
            assert 0 < float(str(disc["cx"])) < width and 0 < float(str(disc["cy"])) < height
        assert [chart.find(id=name) for name in str(chart["aria-labelledby"]).split()] == [chart.title, chart.desc]
        assert len(chart.desc.text.split()) > 10


def test_scales_run_from_end_to_end() -> None:
    scale = Scale(1, 100, 0, 200)
    assert [round(scale(value)) for value in (1, 10, 100)] == [0, 100, 200]


# ---- on paper --------------------------------------------------------------------------------------------------------

SHEET = {"top": "1cm", "bottom": "1cm", "left": "1cm", "right": "1cm"}


def sheets(context: BrowserContext, address: str, name: str) -> int:
    """How many pages of A4 a printed page of the book takes."""
    visit = opened(context, address, name)
    file = visit.page.pdf(format="A4", margin=SHEET)
    visit.page.close()
    return len(re.findall(rb"/Type /Page\b", file))


def test_it_prints_on_one_sheet(context: BrowserContext, address: str) -> None:
    assert sheets(context, address, "book/one-page") == 1
    assert sheets(context, address, "book/welcome") > 1, "the count would not see a second page"


def test_each_formula_is_linked_on_the_built_page(html: Path) -> None:
    soup = BeautifulSoup((html / "book" / "one-page.html").read_text("utf-8"), "html.parser")
    boxes = soup.select("div.snf-equation")
    assert len(boxes) == len(FIVE)
    for label, box in zip(FIVE, boxes, strict=True):
        targets = [str(link["href"]) for link in box.find_all("a")]
        assert len(targets) == 2 and targets[0].endswith(f"#equation-{label}") and "api.html#snf_lite." in targets[1]
