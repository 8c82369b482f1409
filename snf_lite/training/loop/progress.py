"""The progress of a run: a bar in a terminal or a notebook, and now and then a line elsewhere."""

import importlib.util
import os
import sys
import time
from typing import Any

#: Shortest time between two lines where there is no bar.
LINE_SECONDS = 10.0


class Progress:
    """Shows steps and validations on stderr; a context manager.

    Args:
        total: Number of steps of the run.
        initial: Number of steps before this call.
        shown: Whether to show a bar. None: a bar if stderr is a terminal, or in a notebook that has ipywidgets;
            elsewhere a line at most every ``LINE_SECONDS``. Nothing at all where the environment sets ``TQDM_DISABLE``.
    """

    def __init__(self, total: int, initial: int, shown: bool | None) -> None:
        self.bar: Any = None
        self.lines = shown is None and not os.environ.get("TQDM_DISABLE")
        self.last = time.monotonic()
        if shown or (self.lines and (sys.stderr.isatty() or in_notebook())):
            from tqdm.auto import tqdm  # looks for a notebook at its first import

            self.bar = tqdm(total=total, initial=initial, unit="step", disable=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self) -> None:
        if self.bar is not None:
            self.bar.update()

    def note(self, line: str) -> None:
        """Show a line now, above the bar where there is one."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        elif self.lines:
            print(line, file=sys.stderr, flush=True)

    def validated(self, status: str) -> None:
        """Show the state after a validation."""
        if self.bar is not None:
            self.bar.set_postfix_str(status)
        elif self.lines and time.monotonic() - self.last >= LINE_SECONDS:
            print(status, file=sys.stderr, flush=True)
            self.last = time.monotonic()


def in_notebook() -> bool:
    """Whether this is a kernel of Jupyter or Colab that can show tqdm's bar."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return "IPKernelApp" in getattr(shell, "config", {}) and importlib.util.find_spec("ipywidgets") is not None
