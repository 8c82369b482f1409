"""Numbers of a run, handed to the text of its chapter.

A chapter's text says ``<!-- gap -->1.08<!-- / -->``; ``make notebooks`` writes between the marks what the run measured,
and a test compares. Nothing is shown where the call stands: notebooks and pages keep such an output hidden.
"""

from typing import Any

_RECORD = "application/papermill.record/text/plain"


def measured(**values: str) -> None:
    """Hand results to the chapter's text, each by the name of its mark.

    Args:
        values: name → the number as the text shows it, rounded: ``gap=f"{gap:.2f}"``.

    Raises:
        TypeError: a value is no string; how many digits hold is the author's decision.

    Outside of a notebook it checks the values and does nothing else.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"measured: expected {name} as rounded text, such as f'{{x:.2f}}', got {value!r}.")
        _publish(name, value)


def _publish(name: str, value: str) -> None:
    try:
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.display import display
    except ModuleNotFoundError:
        return
    if InteractiveShell.initialized():
        record: dict[str, Any] = {"name": name, "mime_prefix": "application/papermill.record/"}
        display({_RECORD: value}, raw=True, metadata={"scrapbook": record})
