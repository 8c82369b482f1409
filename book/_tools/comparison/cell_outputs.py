"""What a cell printed when its notebook was stored, beside what it prints now: compared by ``printed_numbers``.

nbval demands equal text, each kind of text (a stream, a MIME type) in its order. ``compare_cell`` pairs the texts in
the same way and replaces a fresh text by the stored one if both are equivalent; whatever is unequal after that is a
difference. Images and other outputs that are not text are left as they are.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from nbformat import NotebookNode
from nbval.plugin import get_sanitize_patterns
from paths import ROOT
from text.placeholders import RECORD

from comparison.printed_numbers import Pair, compared

#: Names in an output under which no text for a reader stands.
NOT_PRINTED = ("output_type", "name", "metadata", "traceback")

#: In the HTML of a table that ``snf_book.tables`` made.
TABLE = '<div class="snf-table"'

#: Characters of a line that are shown on either side of a difference.
AROUND = 60

Sanitize = Callable[[str], str]


@dataclass(frozen=True)
class Text:
    """A printed text: in which of a cell's outputs it stands, where there, and the key by which nbval files it."""

    key: str
    output: int
    place: MutableMapping[str, Any]
    name: str

    @property
    def value(self) -> str:
        return self.place[self.name]


@dataclass(frozen=True)
class Numbers:
    """Numbers as stored and as fresh: those that cells print, and those that they measure for the chapter's text."""

    printed: Counter[Pair] = field(default_factory=Counter)
    measured: Counter[Pair] = field(default_factory=Counter)

    def __add__(self, other: "Numbers") -> "Numbers":
        return Numbers(self.printed + other.printed, self.measured + other.measured)

    @property
    def all(self) -> Counter[Pair]:
        """How often each occurs. What is measured is printed as well, as a rule: that counts once."""
        return self.printed | self.measured

    @property
    def off(self) -> "Numbers":
        """Those that are one unit of their last digit off."""
        return Numbers(_moved(self.printed), _moved(self.measured))


@dataclass(frozen=True)
class Comparison:
    """A cell's fresh outputs, with the stored text wherever it is equivalent, and the numbers in those texts."""

    outputs: list[NotebookNode]
    numbers: Numbers


def compare_cell(stored: Sequence[NotebookNode], fresh: Sequence[NotebookNode], sanitize: Sanitize) -> Comparison:
    """Compare the outputs of one cell, the streams of each already joined."""
    outputs = [deepcopy(output) for output in fresh]
    forms: dict[int, list[Counter[Pair]]] = defaultdict(list)
    measured: Counter[Pair] = Counter()
    for old, new in _paired(stored, outputs):
        pairs = compared(*(unaligned(text, sanitize(text.value)) for text in (old, new)))
        if pairs is None:
            continue
        new.place[new.name] = old.value
        if old.key == RECORD:
            measured.update(pairs)
        else:
            forms[old.output].append(Counter(pairs))
    return Comparison(outputs, Numbers(sum(map(_counted_once, forms.values()), Counter()), measured))


def is_table(data: MutableMapping[str, Any]) -> bool:
    """Whether these forms of an output are those of a table."""
    return str(data.get("text/html", "")).startswith(TABLE)


def unaligned(text: Text, value: str) -> str:
    """The text of a table without blanks that align its columns: one wider number moves all others of its column."""
    if not (text.name == "text/plain" and is_table(text.place)):
        return value
    return re.sub("^ +| +$|-{3,}", "", re.sub("  +", " ", value), flags=re.MULTILINE)


def _moved(numbers: Counter[Pair]) -> Counter[Pair]:
    return Counter({pair: count for pair, count in numbers.items() if len(set(pair)) > 1})


def differences(stored: Sequence[NotebookNode], outputs: Sequence[NotebookNode], sanitize: Sanitize) -> list[Pair]:
    """The first lines that differ, of each text that does; "" stands for a text that is missing."""
    old, new = _by_key(stored), _by_key(outputs)
    rows = [row for key in sorted({*old, *new}) for row in zip_longest(old[key], new[key])]
    pairs = [(sanitize(a.value) if a else "", sanitize(b.value) if b else "") for a, b in rows]
    return [_first_difference(a, b) for a, b in pairs if a != b]


def project_sanitize() -> Sanitize:
    """What the project's nbval removes from texts before it compares them."""
    patterns = get_sanitize_patterns((ROOT / "book" / "_data" / "nbval-sanitize.cfg").read_text("utf-8"))

    def sanitize(text: str) -> str:
        for pattern, replacement in patterns:
            text = re.sub(pattern, replacement, text)
        return text

    return sanitize


def printed_texts(outputs: Sequence[NotebookNode]) -> list[str]:
    """What a cell prints, text by text."""
    return [text.value for text in _texts(outputs)]


def _texts(outputs: Sequence[NotebookNode]) -> Iterator[Text]:
    for number, output in enumerate(outputs):
        for place in (output, output.get("data", {})):
            for name, value in place.items():
                if isinstance(value, str) and name not in NOT_PRINTED and not name.startswith("image/"):
                    yield Text(output.name if output.output_type == "stream" else name, number, place, name)


def _by_key(outputs: Sequence[NotebookNode]) -> dict[str, list[Text]]:
    found: dict[str, list[Text]] = defaultdict(list)
    for text in _texts(outputs):
        found[text.key].append(text)
    return found


def _paired(stored: Sequence[NotebookNode], fresh: Sequence[NotebookNode]) -> Iterator[tuple[Text, Text]]:
    """Stored and fresh texts of one key, if there are as many of them; otherwise nbval reports what is missing."""
    old, new = _by_key(stored), _by_key(fresh)
    for key in old:
        if len(old[key]) == len(new[key]):
            yield from zip(old[key], new[key], strict=True)


def _counted_once(forms: Sequence[Counter[Pair]]) -> Counter[Pair]:
    """The numbers of an output that gives the same in several forms: as text, and as HTML with the text in labels."""
    pairs = {pair for form in forms for pair in form}
    return Counter({pair: min(form[pair] for form in forms if pair in form) for pair in pairs})


def _first_difference(stored: str, fresh: str) -> Pair:
    """The first lines that differ, cut to the surroundings of the difference."""
    lines = zip_longest(stored.splitlines(keepends=True), fresh.splitlines(keepends=True), fillvalue="")
    old, new = next(pair for pair in lines if pair[0] != pair[1])
    place = next(number for number, (one, other) in enumerate(zip_longest(old, new)) if one != other)
    start = max(0, place - AROUND)
    return old[start : start + 2 * AROUND], new[start : start + 2 * AROUND]
