"""Many cases in one test bite as single tests do."""

import pytest
from each_case import check_each


def test_every_failing_case_is_named_with_its_reason() -> None:
    seen = []

    def check(case: int) -> None:
        seen.append(case)
        if case == 3:
            pytest.fail("three")
        assert 6 / case > 2, f"{case} is too large"

    with pytest.raises(AssertionError, match="4 of 5 cases fail") as failed:
        check_each([0, 1, 3, 3, 5], check, name="number {}".format)
    assert seen == [0, 1, 3, 3, 5]
    told = str(failed.value).splitlines()
    assert told[1:4] == [
        "- number 0 (case 1): ZeroDivisionError: division by zero",
        "- number 3 (case 3): Failed: three",
        "- number 3 (case 4): Failed: three",
    ]
    assert told[4].startswith("- number 5 (case 5): AssertionError: 5 is too large")
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


def test_cases_that_all_hold_pass_and_none_at_all_fails() -> None:
    check_each("ab", lambda letter: None)
    with pytest.raises(AssertionError, match="no case"):
        check_each([], lambda case: None)


def test_a_skip_inside_a_case_is_not_swallowed() -> None:
    with pytest.raises(pytest.skip.Exception):
        check_each([1], lambda case: pytest.skip("not here"))
