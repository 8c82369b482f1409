"""Numbers of a run for the text of its chapter.

The text has ``<!-- gap -->1.08<!-- / -->``; ``make notebooks`` writes the measured value between the marks, and a test
compares. The output of the call itself is hidden in notebooks and pages.
"""

from typing import Any

_RECORD = "application/papermill.record/text/plain"


def measured(**values: str) -> None:
    """Store results for the chapter's text, each by the name of its mark; outside a notebook only check them.

    Args:
        values: name → the rounded number as the text shows it: ``gap=f"{gap:.2f}"``.

    Raises:
        TypeError: a value is not a string; the author decides how many digits to show.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"measured: expected {name} as rounded text, such as f'{{x:.2f}}', got {value!r}.")
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
