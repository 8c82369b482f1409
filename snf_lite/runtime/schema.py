"""Checks of what a file holds against type hints, once for every kind of record and checkpoint."""

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

#: Largest depth of nested lists and mappings; every record and checkpoint stays far below.
DEPTH = 50
#: Integers are of this many bits, like those of torch; others would overflow where they are used.
_INTEGER = 2**63
_WORDS = {str: "a string", int: "an integer", float: "a number", bool: "a boolean"}


class AtLeast:
    """Metadata of ``Annotated``: a mapping with the entries of TypedDicts and dataclasses, and any others."""

    def __init__(self, *hints: Any) -> None:
        self.hints = hints


def mismatches(value: Any, hint: Any, where: str) -> Iterator[str]:
    """A message for each entry of a value that is missing, unknown or not of the type of its hint.

    Args:
        value: What was read: mappings, lists and plain values, nested no deeper than ``DEPTH``.
        hint: A class, ``X | Y``, ``list[X]`` (a tuple too), ``tuple[X, Y]``, ``dict[K, V]``, ``Any``, a TypedDict, or a
            dataclass, which stands for a mapping with its fields, those with a default optional. ``Annotated[X, Y]`` is
            checked as Y.
        where: Name of the value in the messages.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from mismatches(value, arguments[1], where)
    elif isinstance(hint, AtLeast):
        for each in hint.hints:
            yield from _entry_mismatches(value, each, where, unknown=True)
    elif is_typeddict(hint) or is_dataclass(hint):
        yield from _entry_mismatches(value, hint, where, unknown=False)
    elif origin in (Union, types.UnionType):
        found = [list(mismatches(value, one, where)) for one in arguments]
        if all(found):
            yield from max(found, key=lambda messages: ": expected" not in messages[0])
    elif origin is dict:
        if not isinstance(value, Mapping):
            yield _expected("a mapping", value, where)
            return
        for key, entry in value.items():
            yield from mismatches(key, arguments[0], f"a key of {where}")
            yield from mismatches(entry, arguments[1], f"{where}[{key!r}]")
    elif origin in (list, tuple):
        if not isinstance(value, list | tuple) or (origin is tuple and len(value) != len(arguments)):
            yield _expected(f"a list of {len(arguments)}" if origin is tuple else "a list", value, where)
            return
        for index, entry in enumerate(value):
            yield from mismatches(entry, arguments[index if origin is tuple else 0], f"{where}[{index}]")
    elif hint is not Any and not _is_a(value, hint):
        wanted = "nothing" if hint in (None, type(None)) else _WORDS.get(hint, f"a {getattr(hint, '__name__', hint)}")
        yield _expected(wanted, value, where)


def _entry_mismatches(value: Any, hint: Any, where: str, unknown: bool) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _expected("a mapping", value, where)
        return
    hints = get_type_hints(hint, include_extras=True)
    if is_dataclass(hint):
        by_default = (field for field in fields(hint) if (field.default, field.default_factory) != (MISSING, MISSING))
        hints, optional = {field.name: hints[field.name] for field in fields(hint)}, {f.name for f in by_default}
    else:
        optional = set(hint.__optional_keys__)
    wrong = sorted((hints.keys() - optional - value.keys()) | (set() if unknown else set(map(str, value)) - set(hints)))
    if wrong:
        yield f"{where}: missing or unknown are {', '.join(wrong)}"
    for key in value.keys() & hints.keys():
        inner = get_args(hints[key])[0] if get_origin(hints[key]) in (NotRequired, Required) else hints[key]
        yield from mismatches(value[key], inner, f"{where}, {key}")


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value is of a class; an integer is a number too, a boolean is neither, and both are finite."""
    if hint in (None, type(None)):
        return value is None
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint in (int, float) and isinstance(value, int):
        return -_INTEGER <= value < _INTEGER
    return isinstance(value, hint) and (hint is not float or math.isfinite(value))


def _expected(wanted: str, value: Any, where: str) -> str:
    got = f"the integer {value}" if type(value) is int and abs(value) < _INTEGER else f"a {type(value).__name__}"
    got = "nothing" if value is None else f"the number {value}" if isinstance(value, float) else got
    return f"{where}: expected {wanted}, got {got}"


def require_shallow(value: Any, most: float = math.inf) -> None:
    """Refuse a value with lists and mappings in each other deeper than ``DEPTH``, or with more entries than ``most``.

    A list that holds itself is deeper than any; one that is held many times has the entries of all its copies.

    Raises:
        ValueError: The message names which of the two.
    """
    pending, count = [(value, 0)], 0
    while pending:
        one, level = pending.pop()
        count += 1
        if level > DEPTH or count > most:
            raise ValueError(f"lists nested deeper than {DEPTH}" if level > DEPTH else f"more than {most} entries")
        if isinstance(one, Mapping | list | tuple):
            entries = (*one.keys(), *one.values()) if isinstance(one, Mapping) else one
            pending += [(entry, level + 1) for entry in entries]
