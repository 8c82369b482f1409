"""The pages beside the chapters: up to date, no number typed, every work and function that they name is there."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from each_case import check_each
from paths import ROOT, pages
from reference import choosing_lambda, families, figures_and_tables, lambda_trial
from reference.choosing_lambda import EXCESS, figure, panel
from reference.sweeps import Sweep, Value, all_sweeps
from text.equations import resolved
from text.placeholders import fill, marks, typed_results, without_marks

NAMES = ("why-densities", "where-flows-stand", "choosing-lambda")
PAGES = [ROOT / "book" / f"{name}.md" for name in NAMES]
WORKS = set(re.findall(r"^@\w+\{([\w-]+),", (ROOT / "book" / "references.bib").read_text("utf-8"), re.MULTILINE))


def name_of(page: Path) -> str:
    return page.name


def test_pages_are_up_to_date() -> None:
    assert choosing_lambda.PAGE.read_text("utf-8") == choosing_lambda.page(), "run `make notebooks`"
    assert figures_and_tables.PAGE.read_text("utf-8") == figures_and_tables.page(), "run `make notebooks`"
    found = families.values()
    for page in families.PAGES:
        assert page.read_text("utf-8") == fill(page.read_text("utf-8"), found), "run `make notebooks`"


def test_pages_are_in_the_contents() -> None:
    assert {f"book/{name}" for name in (*NAMES, "figures-and-tables")} <= set(pages())


@pytest.mark.parametrize(
    ("caption", "first"),
    [
        ("One <em>line</em> &lt; two. Another one.", "One *line* < two."),
        (r"At $x = 1. 5$ and 0.5 it ends", r"At $x = 1. 5$ and 0.5 it ends"),
        ("Is it <code>so</code>? Yes.", "Is it `so`?"),
    ],
)
def test_a_list_says_the_first_sentence_of_a_caption(caption: str, first: str) -> None:
    assert figures_and_tables.first_sentence(caption) == first


def test_no_number_is_typed() -> None:
    def check(page: Path) -> None:
        text = page.read_text("utf-8")
        assert not typed_results(without_marks(text))
        assert not re.findall(r"^<!-- (?!/)\w+ -->[^\n]+$", text, re.MULTILINE), "a mark begins a line: a block of HTML"

    check_each(PAGES, check, name_of)


def test_every_number_is_used() -> None:
    used = {name for page in families.PAGES for name, _ in marks(page.read_text("utf-8"))}
    assert used == set(families.values())
    assert {name for name, _ in marks(choosing_lambda.PAGE.read_text("utf-8"))} == set(choosing_lambda.values())


def test_works_are_in_the_bibliography() -> None:
    def check(page: Path) -> None:
        keys = re.findall(r"\{cite:[pt]\}`([^`]+)`", page.read_text("utf-8"))
        assert {key for group in keys for key in group.split(",")} <= WORKS

    check_each([*PAGES, ROOT / "book" / "paper-map.md"], check, name_of)


def test_functions_exist() -> None:
    named = re.findall(r"\{py:obj\}`[^`<]+<([\w.]+)>`", choosing_lambda.PAGE.read_text("utf-8"))
    assert len(named) > 5
    check_each(named, lambda name: callable(resolved(name)) or pytest.fail("it cannot be called"))


# ---- the figures -----------------------------------------------------------------------------------------------------


def test_a_panel_draws_each_training_and_its_error() -> None:
    def check(sweep: Sweep) -> None:
        drawn = BeautifulSoup(panel(sweep, 1), "html.parser")
        discs = {float(str(disc["cx"])): float(str(disc["cy"])) for disc in drawn.find_all("circle")}
        assert len(discs) == len(sweep.rows) == len(drawn.find_all("polygon"))
        heights = [discs[x] for x in sorted(discs)]
        losses = [sweep.excess(weight) for weight in sorted(sweep.rows)]
        assert sorted(range(len(losses)), key=losses.__getitem__) == sorted(
            range(len(losses)), key=lambda k: -heights[k]
        )
        assert max(heights) == pytest.approx(EXCESS(0), abs=0.06)

    check_each(all_sweeps(), check, lambda sweep: f"{sweep.place} {sweep.model}")


def test_an_error_below_the_scale_is_drawn_hollow() -> None:
    rows = {0.0: {"nll": Value(2), "error": Value(0.5)}, 1.0: {"nll": Value(1), "error": Value(0.1, below=True)}}
    marked = BeautifulSoup(panel(Sweep("x", "y", 1, ("nll", "error"), rows), 1), "html.parser").find_all("polygon")
    assert [triangle["fill"] == "none" for triangle in marked] == [False, True]


def test_drawings_stay_in_their_frames_and_have_words() -> None:
    charts = BeautifulSoup(figure(all_sweeps()) + families.figure(), "html.parser").find_all("svg")
    assert len(charts) == len(all_sweeps()) + len(families.FAMILIES)
    ids = [tag["id"] for chart in charts for tag in chart.find_all(id=True)]
    assert len(set(ids)) == len(ids)
    for chart in charts:
        _, _, width, height = map(float, str(chart["viewbox"]).split())
        places = [place.split(",") for one in chart.find_all(points=True) for place in str(one["points"]).split()]
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places) and places
        assert [chart.find(id=name) for name in str(chart["aria-labelledby"]).split()] == [chart.title, chart.desc]


# ---- the trial of a tolerance ----------------------------------------------------------------------------------------


def test_the_record_says_where_it_comes_from() -> None:
    record = lambda_trial.read()
    assert {"command", "settings", "package", "libraries", "device", "threads", "date", "wall_seconds"} <= set(record)
    cases = [(one["start"], one["tolerance"]) for one in record["trainings"]]
    adapted = [(start, tolerance) for tolerance in lambda_trial.TOLERANCES for start in lambda_trial.STARTS]
    assert cases == [*((weight, None) for weight in lambda_trial.FIXED), *adapted]


def test_a_training_of_the_trial_is_measured() -> None:
    """One epoch: λ shrinks where the error is below its tolerance, and every entry of the record is there."""
    one = lambda_trial.trained(1.0, 100.0, epochs=1)
    assert set(one) == set(lambda_trial.read()["trainings"][0])
    assert all(0.9 < weight < 1 for weight in one["weights"]) and all(0 < error < 100 for error in one["errors"])
