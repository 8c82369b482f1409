"""Every numbered equation of the book has a function, a docstring that names it, and a test that enters it."""

import inspect
import re
from collections import Counter

import pytest
from each_case import check_each
from paths import ROOT
from reference.formula_sheet import PAGE, page
from text.chapters import Chapter, chapters
from text.equations import DEFINITION, proofs, registry, resolved

pytest_plugins = ["pytester"]
ALL = [label for chapter in chapters() for label in chapter.labels]


def test_the_book_and_the_registry_name_the_same_equations() -> None:
    assert set(ALL) == set(registry())
    assert max(Counter(ALL).values()) == 1, "a label stands twice"


def file_name(chapter: Chapter) -> str:
    return chapter.path.name


def test_a_chapter_has_two_to_five_numbered_equations_and_refers_to_each() -> None:
    def check(chapter: Chapter) -> None:
        assert 2 <= len(chapter.labels) <= 5
        assert set(chapter.labels) <= set(chapter.referred)

    check_each(chapters(), check, file_name)


def test_references_lead_to_equations() -> None:
    """As ``[words](#eq-…)``, also to another chapter: of a file and a label the book makes no link."""

    def check(chapter: Chapter) -> None:
        assert set(chapter.referred) <= set(ALL)
        assert not re.findall(r"\]\([\w-]+\.ipynb#eq-", chapter.text)

    check_each(chapters(), check, file_name)


def test_function_exists_and_its_docstring_names_the_equation() -> None:
    def check(label: str) -> None:
        function = registry()[label]["function"]
        assert re.fullmatch(r"eq-[a-z0-9-]+", label)
        if function == DEFINITION:
            return
        owner = resolved(function.rpartition(".")[0])
        words = inspect.getdoc(resolved(function)) or ""
        if inspect.isclass(owner):
            words += f" {inspect.getdoc(owner) or ''}"
        assert re.search(rf"\b{label}\b(?!-)", words), f"the docstring of {function} does not name {label}"

    check_each(registry(), check)


def test_has_a_test() -> None:
    computed = [label for label, line in registry().items() if line["function"] != DEFINITION]
    assert not [label for label in computed if not proofs().get(label)], "no test is marked as theirs"


def test_the_sheet_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make notebooks`"


def test_the_sheet_shows_each_formula_of_its_chapter_once() -> None:
    """Read here without the generator: the formula of a cell, up to its label."""
    shown = re.findall(r"\$\$\n(.+?)\n\$\$\n\n\[\]\(#(eq-[\w-]+)\)", PAGE.read_text("utf-8"), re.DOTALL)
    assert [label for _, label in shown] == ALL
    cells = [cell.source for chapter in chapters() for cell in chapter.notebook.cells]
    for formula, label in shown:
        [cell] = [source for source in cells if f"$$ ({label})" in source]
        assert cell.split(f"$$ ({label})")[0].rsplit("$$", 1)[1].strip().rstrip(" .,:") == formula, label


def test_the_sheet_folds_its_tests_away() -> None:
    before, folded = PAGE.read_text("utf-8").split(":::{dropdown}")
    assert "::test_" not in before and folded.count("::test_") > len(ALL) / 2
    assert folded.count("| [eq-") == len(ALL)


@pytest.mark.parametrize("enters", [True, False])
def test_a_marked_test_has_to_enter_the_function(pytester: pytest.Pytester, enters: bool) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text("utf-8"))
    marked = '@pytest.mark.equation("eq-change")\ndef test_it():\n'
    call = "Flow([], (2,)).log_prob(torch.ones(1, 2))" if enters else "Flow([], (2,))"
    pytester.makepyfile(f"import pytest, torch\nfrom snf_lite import Flow\n\n{marked}    {call}\n")
    pytester.syspathinsert(ROOT / "book")
    pytester.runpytest_inprocess("-p", "no:nbval").assert_outcomes(passed=int(enters), failed=int(not enters))
