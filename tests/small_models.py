"""Settings that keep a model small enough for tests of every model: what its builder takes by default is a paper's."""

from typing import Any

import snf_lite as snf

SMALL: dict[str, dict[str, Any]] = {name: {"steps": 2, "width": 8} for name in ("glow-exact", "glow-selfnorm")}


def small(name: str, *args: Any, **kwargs: Any) -> snf.Flow:
    """``snf.build`` with these settings."""
    return snf.build(name, *args, **SMALL.get(name, {}), **kwargs)
