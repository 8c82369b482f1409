"""Numbers in the text of a chapter: ``<!-- name -->1.08<!-- / -->``, where the name is one that its run measured.

The run says ``measured(name="1.08")``, which leaves a hidden output; ``runtime`` is what the run
itself took. In Jupyter, on Colab and on the page the marks are comments, so that nothing but the number is seen.
"""

import re
from collections.abc import Mapping

import nbformat

RECORD = "application/papermill.record/text/plain"
MARK = re.compile(r"<!-- (\w+) -->(.*?)<!-- / -->", re.DOTALL)
#: Values that `make notebooks` provides itself.
RUNTIME = "runtime"
#: What looks like a result: a decimal, or a number with a unit of measurement.
TYPED = re.compile(r"(?<![\w.-])\d+\.\d+(?![\w.-]*\w)|(?<![\w.])\d+(?:\.\d+)?\s*(?:nats|seconds|ms|%|GB|kB)(?!\w)")
#: Where such a number is none: code, formulas, targets of links.
NOT_PROSE = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|https?://\S+", re.DOTALL)


def measurements(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Name → text of all that the stored run measured. Raises ValueError when a name was measured twice."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if RECORD in output.get("data", {}):
                name = output.metadata["scrapbook"]["name"]
                if name in found:
                    raise ValueError(f"{name!r} was measured twice.")
                found[name] = output.data[RECORD]
    return found


def marks(text: str) -> list[tuple[str, str]]:
    """(name, number) of each mark of a text, in order."""
    return MARK.findall(text)


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the values between its marks. Raises KeyError for a name that nothing measured."""
    return MARK.sub(lambda mark: f"<!-- {mark[1]} -->{values[mark[1]]}<!-- / -->", text)


def without_marks(text: str) -> str:
    """The text without its marks and the numbers between them: what was typed."""
    return MARK.sub("", text)


def typed_results(text: str) -> list[str]:
    """Numbers that look like results and stand in a text by hand: decimals, and those with a unit of measurement."""
    return TYPED.findall(NOT_PROSE.sub(" ", without_marks(text)))
