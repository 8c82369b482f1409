"""The prose of the chapters and pages uses the field's words: no private ones."""

import pytest
from each_case import check_each
from reference.words import CODE, blank, hits, offenders, page_files, prose

FOUND = offenders()


def test_pages_use_the_fields_words() -> None:
    def check(name: str) -> None:
        found = FOUND.get(name, [])
        assert not found, "\n".join(
            ["words of ours:", *(f"{word!r}: write {new} (… {place} …)" for word, new, place in found)]
        )

    check_each(list(page_files()), check, str)


def test_the_text_of_the_glossary_is_checked() -> None:
    assert "data point" in blank(prose(page_files()["glossary"]), CODE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("An event $x$ has a code $z$.", ["event", "code"]),
        ("The codes of two foreign pictures, the way back.", ["codes", "way back", "foreign"]),
        ("the gradient of $f(x)$ by $W$ and the gradient by its taps", ["gradient of $····$ by", "gradient by"]),
        ("the derivative of the logarithm divides by the number", []),
        ("`event`, ```python\nevents = codes\n```, $event$, [words](events.md#codes) and its source code", []),
        ("What is dear in grey colours, normalised in vain", ["dear", "in vain", "grey", "colours", "normalised"]),
        ("A precise exercise raised a promise; it is optimized, like noise or advice.", []),
        ("Whoever stands behind reads the nats", ["the nats", "stands behind", "Whoever"]),
    ],
)
def test_the_check_finds_words_in_prose_alone(text: str, words: list[str]) -> None:
    assert sorted(word for word, _, _ in hits(text)) == sorted(words)
