"""Optional libraries: a missing one is named with its extra; a broken one keeps its own error."""

from pathlib import Path

import pytest

from snf_lite.runtime.optional import MissingLibraryError, optional_import


def test_a_module_is_imported() -> None:
    import json.decoder

    assert optional_import("json.decoder", "bench") is json.decoder


@pytest.mark.parametrize("name", ["nothing_of_that_name", "nothing_of_that_name.part"])
def test_a_missing_library_is_named_with_its_extra(name: str) -> None:
    words = r"^nothing_of_that_name is not installed: pip install snf-lite\[prior\]$"
    with pytest.raises(MissingLibraryError, match=words):
        optional_import(name, "prior")


def test_a_library_that_lacks_a_dependency_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "halfway.py").write_text("import nothing_of_that_name", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name") as error:
        optional_import("halfway", "prior")
    assert not isinstance(error.value, MissingLibraryError)
