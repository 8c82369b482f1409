"""Optional libraries, imported only where something needs them."""

import importlib
from typing import Any


class MissingLibraryError(ModuleNotFoundError):
    """An optional library is not installed; the message names the extra that installs it."""


def optional_import(name: str, extra: str) -> Any:
    """Import a module of an optional library.

    Args:
        name: Full name of the module.
        extra: Extra of this distribution that installs the library.

    Raises:
        MissingLibraryError: The library is not installed.
        ModuleNotFoundError: The library is installed but lacks a dependency of its own.
    """
    library = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != library:
            raise
        raise MissingLibraryError(f"{library} is not installed: pip install snf-lite[{extra}]", name=library) from None
