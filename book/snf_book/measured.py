"""Numbers of a run for the text of its chapter, and how numbers and captions are written.

The text has ``<!-- gap -->1.08<!-- / -->``; ``make notebooks`` writes the measured value between the marks, and a test
compares. The output of the call itself is hidden in notebooks and pages.
"""

import html
import re
from typing import Any

_RECORD = "application/papermill.record/text/plain"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: Powers of ten that a number in e-notation is written without.
_PLAIN_POWERS = range(-2, 3)
#: Of a caption: maths stays as it is written, the rest is Markdown of one line.
_MATHS = re.compile(r"(\$[^$]+\$)")
_MARKDOWN = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*(.+?)\*"), r"<em>\1</em>"),
)


def number(value: Any, spec: str = "") -> str:
    """A number as a book prints it: ``number(-8e-5, ".0e")`` is "−8 × 10⁻⁵", ``number(-0.5, "+.2f")`` "−0.50".

    The blanks around × do not break. In e-notation, powers from 10⁻² to 10² are written out, with the same digits. A
    zero has no sign: rounding would decide it.

    Args:
        value: a number, or a tensor of one.
        spec: as for ``format``: ".1f", "+.2f", ",d", ".0e".
    """
    text = format(value, spec)
    if "inf" in text:
        return text.replace("inf", "∞").replace("-", "−")
    mantissa, letter, power = text.partition("e")
    if letter and int(power) in _PLAIN_POWERS:
        rounded = float(text)
        sign = "+" if text.startswith("+") else ""
        mantissa, letter = format(rounded, f"{sign}.{max(0, _decimals(mantissa) - int(power))}f"), ""
    if not re.search("[1-9]", mantissa):
        mantissa = mantissa.lstrip("+-")
    mantissa = mantissa.replace("-", "−")
    return f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{power_of_ten(int(power))}" if letter else mantissa


def power_of_ten(exponent: int) -> str:
    """10⁻⁵ for −5."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def written(caption: str) -> str:
    """The caption of a figure or a table as HTML: ``$maths$`` as it is, ``*emphasis*`` and code in backticks."""
    parts = _MATHS.split(caption)
    for at in range(0, len(parts), 2):
        parts[at] = html.escape(parts[at], quote=False)
        for pattern, replacement in _MARKDOWN:
            parts[at] = pattern.sub(replacement, parts[at])
    parts[1::2] = [html.escape(part, quote=False) for part in parts[1::2]]
    return "".join(parts)


def measured(**values: str) -> None:
    """Store results for the chapter's text, each by the name of its mark; outside a notebook only check them.

    Args:
        values: name → the rounded number as the text shows it: ``gap=number(gap, ".2f")``.

    Raises:
        TypeError: a value is not a string; the author decides how many digits to show.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"measured: expected {name} as rounded text, such as number(x, '.2f'), got {value!r}.")
    try:
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.display import display
    except ModuleNotFoundError:
        return
    if not InteractiveShell.initialized():
        return
    for name, value in values.items():
        record: dict[str, Any] = {"name": name, "mime_prefix": "application/papermill.record/"}
        display({_RECORD: value}, raw=True, metadata={"scrapbook": record})
