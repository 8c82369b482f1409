"""Checks of a chapter as a row of ticks; one that fails raises, so that no page shows a tick that is not true."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Any

from snf_book.measured import number, power_of_ten


@dataclass(frozen=True)
class Checks:
    """What ``checks`` returns: the names of what holds, by the bound that holds for them ("" where it is a fact)."""

    names: dict[str, list[str]]

    def __repr__(self) -> str:
        return "\n".join(bound + "  ".join(f"✓ {name}" for name in names) for bound, names in self.names.items())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def html(self) -> str:
        """A paragraph for each bound; a tick and its name stay on one line where they fit."""
        ticks = {
            bound: " &ensp;".join(f'<span style="display:inline-block">✓ {escape(name)}</span>' for name in names)
            for bound, names in self.names.items()
        }
        lines = "\n".join(f'<p style="margin:.2em 0">{bound}{row}</p>' for bound, row in ticks.items())
        return f'<div class="snf-checks">\n{lines}\n</div>'


def checks(results: Mapping[str, tuple[Any, float] | bool]) -> Checks:
    """Check what a chapter claims, and show a tick for each claim.

    Args:
        results: name → (measured error, the largest that is allowed), or whether it holds.

    Raises:
        AssertionError: something does not hold. Names it, with its error and bound.
    """
    failed, names = [], dict[str, list[str]]()
    for name, result in results.items():
        error, bound = result if isinstance(result, tuple) else (float(not result), 0.0)
        if not error <= bound:  # also where the error is not a number
            failed.append(f"{name}: expected at most {bound:.3g}, got {float(error):.3g}" if bound else name)
        names.setdefault(f"Within {_bound(bound)}: " if bound else "", []).append(name)
    if failed:
        raise AssertionError(f"does not hold: {'; '.join(failed)}.")
    return Checks(names)


def _bound(value: float) -> str:
    """A bound as text: a power of ten without its factor of one."""
    power = round(log10(value))
    return power_of_ten(power) if float(f"1e{power}") == value and power < -2 else number(value, ".3g")
