"""Whether two printed texts are equivalent, where the last digit of a number depends on the machine that computed it.

Processors and thread counts add in different orders, so a result differs in its last bits, and a number that lies near
the boundary between two roundings is printed as one or the other. ``compared`` allows for that and for nothing else:

- the text between the numbers, the signs and the count of numbers are the same;
- a whole number is the same: it is a count, or was rounded to be the same everywhere;
- a number with a decimal point or an exponent has as many decimals, and is off by one unit of its last digit at most;
- blanks may change where a number in a column becomes wider (9.99 → 10.00).

An exponent is ``e-05`` or, as ``snf_book.measured.number`` writes it, ``× 10⁻⁵``. The sign of a zero is a sign: a
chapter should not print one that rounding decides. Digits inside a word, an identifier, a color or a version (``x2``,
``#1e90ff``, ``1.10.2``) are text. Few numbers may be off at all: ``allowed``.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

#: Of how many numbers one may be off by one unit. One always may.
NUMBERS_FOR_ONE_OFF = 100

NUMBER = re.compile(
    r"(?<![\w.#])"  # not inside a word, a version or a color
    r"[-+−]?"
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
    r"(?:\.[0-9]+)?"
    r"(?:[eE][-+]?[0-9]+|[ \u00a0]×[ \u00a0]10⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
    r"(?!\w|\.[0-9])"
)

EXPONENT = re.compile(r"([eE]|\s×\s10|$)")
#: What ``× 10⁻⁵`` has in place of ``e-5``, and commas between thousands.
PLAIN = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789", ",")

#: A number as stored and as printed by the fresh run.
Pair = tuple[str, str]


def allowed(numbers: int) -> int:
    """How many of a notebook's numbers may be off by one unit: 1 %, and at least one."""
    return max(1, numbers // NUMBERS_FOR_ONE_OFF)


def compared(stored: str, fresh: str) -> list[Pair] | None:
    """Every number of two equivalent texts, in order; None if they differ in more than rounding explains."""
    pairs = list(zip(NUMBER.findall(stored), NUMBER.findall(fresh), strict=False))
    if stored == fresh:
        return pairs
    between, fresh_between = NUMBER.split(stored), NUMBER.split(fresh)
    if len(between) != len(fresh_between) or not all(same_number(*pair) for pair in pairs):
        return None
    return pairs if _same_text(between, fresh_between, pairs) else None


def same_number(stored: str, fresh: str) -> bool:
    """Whether two printed numbers are the same, or may be one result rounded twice."""
    return stored == fresh or (_form(stored) == _form(fresh) and _one_unit_apart(stored, fresh))


def _form(number: str) -> tuple[str, int, str]:
    """What two roundings of one result have in common: the sign, the decimals, what an exponent stands behind."""
    mantissa, mark, _ = EXPONENT.split(number, maxsplit=1)
    return number[0].strip("0123456789"), len(mantissa.partition(".")[2]), mark


def _one_unit_apart(stored: str, fresh: str) -> bool:
    _, decimals, exponent = _form(stored)
    if not (decimals or exponent):
        return False  # whole, and not the same
    first, second = _value(stored), _value(fresh)
    if len({"," in number for number in (stored, fresh) if abs(_value(number)) >= 1000}) > 1:
        return False  # thousands are separated in one of the two alone
    # Across a carry (9.9e-05 → 1.0e-04) what lies between neighbors is the smaller unit of the two.
    unit = min(Decimal(1).scaleb(int(value.as_tuple().exponent)) for value in (first, second))
    return 0 < abs(first - second) <= unit


def _value(number: str) -> Decimal:
    mantissa, mark, exponent = EXPONENT.split(number, maxsplit=1)
    return Decimal((f"{mantissa}e{exponent}" if mark else mantissa).translate(PLAIN))


def _same_text(stored: Sequence[str], fresh: Sequence[str], pairs: Sequence[Pair]) -> bool:
    """Whether the text before, between and after the numbers is the same, but for the blanks that align a column."""
    wider = [0, *(len(after) - len(before) for before, after in pairs), 0]
    return all(
        any(new == _narrowed(old, left, right) for left in {0, wider_left} for right in {0, wider_right})
        for old, new, (wider_left, wider_right) in zip(stored, fresh, pairwise(wider), strict=True)
    )


def _narrowed(text: str, left: int, right: int) -> str | None:
    """The text with n blanks fewer at its ends (more, if negative); None if there are not as many."""
    start, stop = max(left, 0), len(text) - max(right, 0)
    if start > stop or text[:start].strip(" ") or text[stop:].strip(" "):
        return None
    return " " * -left + text[start:stop] + " " * -right
