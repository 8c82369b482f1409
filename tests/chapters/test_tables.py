"""Tables and ticks of the chapters, and how their numbers are written."""

import math
import operator
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from bs4 import BeautifulSoup, Tag
from each_case import check_each
from paths import notebooks
from snf_book.checks import checks
from snf_book.measured import number
from snf_book.tables import Table, table

WRITTEN = {
    (-8e-5, ".0e"): "−8 × 10⁻⁵",
    (6e9, ".0e"): "6 × 10⁹",
    (9.96e-4, ".1e"): "1.0 × 10⁻³",
    (1e-10, ".0e"): "1 × 10⁻¹⁰",
    (0.4123, ".0e"): "0.4",
    (0.0234, "+.1e"): "+0.023",
    (432.1, ".1e"): "430",
    (-0.5, "+.2f"): "−0.50",
    (0.5, "+.2f"): "+0.50",
    (-0.001, "+.2f"): "0.00",
    (0.0, ".0e"): "0",
    (7077888, ",d"): "7,077,888",
    (-3, "d"): "−3",
    (math.inf, ".1f"): "∞",
    (-math.inf, ".1e"): "−∞",
    (math.nan, ".1f"): "nan",
}


def test_numbers_are_written_as_in_print() -> None:
    def check(case: tuple[float, str]) -> None:
        assert number(*case).replace("\N{NO-BREAK SPACE}", " ") == WRITTEN[case]

    check_each(list(WRITTEN), check, str)
    assert number(torch.tensor(-1.25, requires_grad=True), ".1f") == "−1.2"  # and no warning


def results(**changes: object) -> Table:
    rows = {
        "MNIST": [["exact <1>", (947.6, 0.2), (959.04, None), 2], ["learned", 947.1, (961.3, 0.4), None]],
        "digits": [["other", None, "not run", 3]],
    }
    heads = {"": "", "NLL": {"paper": ".1f", "here": ".1f"}, "seeds": "d"}
    given = {"rows": rows, "heads": heads, "caption": "See that a < b.", "name": "main", "notes": ["A note."]}
    return table(**{**given, **changes})  # type: ignore[arg-type]


def soup(shown: Table) -> Tag:
    return BeautifulSoup(shown._repr_mimebundle_()["text/html"], "html.parser")


def words(cells: list[Tag]) -> list[str]:
    return [cell.text for cell in cells]


def test_a_table_has_a_caption_headers_and_an_anchor() -> None:
    box = soup(results()).div
    assert box["id"] == "table-main" and box["tabindex"] == "0"
    assert box.table.caption.text == "See that a < b." and box.p.text == "A note."
    assert {cell["scope"]: cell.text for cell in box("th")} == {
        "colgroup": "NLL", "col": "here", "rowgroup": "digits", "row": "other",
    }  # fmt: skip
    assert words(box.find_all("th", scope="row")) == ["exact <1>", "learned", "other"]
    assert "id" not in soup(results(name=None)).div.attrs


def test_a_caption_is_written_as_that_of_a_figure() -> None:
    caption = soup(results(caption="A *large* `x<y` & $a<b*c*d$.")).caption.span
    assert caption.decode_contents() == "A <em>large</em> <code>x&lt;y</code> &amp; $a&lt;b*c*d$."


def test_cells_stand_below_their_headings() -> None:
    def width(row: Tag) -> int:
        return sum(int(cell.get("colspan", 1)) for cell in row(["th", "td"]))

    shown = soup(results())
    upper, lower = shown.thead("tr")
    assert [width(row) for row in shown.tbody("tr")] == [6, 6, 6] and width(upper) == 6
    assert width(lower) == int(upper.find(scope="colgroup")["colspan"]) == 4
    assert {cell["rowspan"] for cell in upper(["th", "td"]) if cell.get("scope") != "colgroup"} == {"2"}
    learned = shown.tbody("tr")[2]
    assert words(learned("td")) == ["947.1", "", "961.3", "± 0.4", "–"]
    assert ["right" in cell["style"] for cell in learned("td")] == [True, False, True, False, True]


def test_decimals_stand_below_one_another() -> None:
    shown = table([["a", "3"], ["b", "12.25"], ["c", "0.5"]], {"": "", "x": ""}, caption="Points.")
    assert repr(shown).splitlines()[4:] == ["a   3", "b  12.25", "c   0.5"]
    blanks = [cell.span and cell.span["style"].rpartition(":")[2] for cell in soup(shown)("td") if cell.text]
    assert blanks == ["2.5ch", None, "0.5ch"]


def test_the_text_of_a_table_has_the_words_of_its_html() -> None:
    shown = results()
    text = shown._repr_mimebundle_()["text/plain"]
    assert text == (
        "See that a < b.\n\n"
        "                       NLL\n"
        "           paper            here         seeds\n"
        "----------------------------------------------\n"
        "MNIST\n"
        "exact <1>  947.6  ± 0.2    959.0             2\n"
        "learned    947.1           961.3  ± 0.4      –\n"
        "digits\n"
        "other          –         not run             3\n"
        "A note."
    )
    cells = {word for cell in soup(shown).tbody(["td", "th"]) for word in cell.text.split()}
    assert cells <= set(text.split())


def test_a_table_needs_nothing_from_outside_and_repeats() -> None:
    html = results().html()
    assert "<style" not in html and "<script" not in html and "http" not in html
    assert html == results().html()


def test_a_table_refuses_rows_of_another_length_and_odd_names() -> None:
    with pytest.raises(ValueError, match=r"expected 2 cells in each row, got 1 in \['a'\]"):
        table([["a"]], {"": "", "x": ""}, caption="Short.")
    with pytest.raises(ValueError, match="small letters, digits and hyphens, got 'A b'"):
        results(name="A b")


def test_a_tick_stands_for_what_holds() -> None:
    found = {
        "linear": (torch.tensor(1e-12), 1e-10),
        "conv": (1e-11, 1e-10),
        "odd <sizes>": True,
        "digits": (0.02, 0.05),
    }
    shown = checks(found)
    assert repr(shown) == "Within 10⁻¹⁰: ✓ linear  ✓ conv\n✓ odd <sizes>\nWithin 0.05: ✓ digits"
    lines = BeautifulSoup(shown._repr_mimebundle_()["text/html"], "html.parser")("p")
    assert [" ".join(line.text.split()) for line in lines] == [
        " ".join(line.split()) for line in repr(shown).splitlines()
    ]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((2e-10, 1e-10), "other: expected at most 1e-10, got 2e-10."),
        ((math.nan, 1e-10), "other: expected at most 1e-10, got nan."),
        (False, "other."),
        (torch.tensor(False), "other."),
    ],
)
def test_what_does_not_hold_raises_and_is_named(result: object, message: str) -> None:
    with pytest.raises(AssertionError) as raised:
        checks({"one": (0.0, 1e-10), "other": result, "third": True})  # type: ignore[dict-item]
    assert str(raised.value) == f"does not hold: {message}"


# -- what chapters show ------------------------------------------------------------------------------------------------

#: Chapters that still print tables or verdicts as text. None may be added.
STILL_PRINTING: set[str] = set()
COLUMNS = re.compile(r"\S\s{2,}\S.*?\s{2,}\S")
VERDICT = re.compile(r"\b(?:True|False)$")


def printed(path: Path) -> Iterator[str]:
    """What the cells of a chapter print as text."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            yield "".join(output.text for output in cell.outputs if output.output_type == "stream")


def has_table(text: str) -> bool:
    """Whether two lines in a row have three columns or more."""
    rows = [bool(COLUMNS.search(line)) for line in text.splitlines()]
    return any(map(operator.and_, rows, rows[1:]))


def has_verdict(text: str) -> bool:
    return any(VERDICT.search(line) for line in text.splitlines())


def test_chapters_show_tables_and_ticks_and_print_neither() -> None:
    texts = {path.stem: list(printed(path)) for path in notebooks()}
    found = {name for name, cells in texts.items() if any(has_table(cell) or has_verdict(cell) for cell in cells)}
    assert found - STILL_PRINTING == set(), "show `table(…)` or `checks(…)` of snf_book"
    assert found == STILL_PRINTING, "a chapter to take off the list"


@pytest.mark.parametrize(
    ("text", "is_table", "is_verdict"),
    [
        ("a   1   2\nb   3   4\n", True, False),
        ("step   loss   nats\n   0   1.50    2.0\n", True, False),
        ("a   1   2\nand on we go\nb   3   4\n", False, False),
        ("one sentence, 1.5 nats\nand a second one\n", False, False),
        ("the sum is right, to 1e-10: True\n", False, True),
        ("True is a word of Python\n", False, False),
    ],
)
def test_what_counts_as_a_printed_table(text: str, is_table: bool, is_verdict: bool) -> None:
    assert (has_table(text), has_verdict(text)) == (is_table, is_verdict)
