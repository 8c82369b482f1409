"""README and CONTRIBUTING list the packages as they are: every module, the files to read, the contract's floors."""

import pytest
from paths import ROOT
from text import package_map

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.mark.parametrize("path", package_map.documents(), ids=lambda path: path.name)
def test_what_is_stored_is_what_the_tree_gives(path: package_map.Path) -> None:
    assert path.read_text("utf-8") == package_map.documents()[path], "run `make pages`"


def test_every_module_is_listed_and_described() -> None:
    for package, root in package_map.PACKAGES.items():
        for path in root.rglob("*.py"):
            assert package_map.summary(path), f"{path} has no docstring"
            assert path.name in ("__init__.py", "__main__.py") or f"`{path.stem}`" in CONTRIBUTING, (package, path)


def test_the_drawing_has_every_part() -> None:
    drawn = package_map.PICTURE.read_text("utf-8")
    for floor in package_map.floors()[1:-1]:
        for part in floor:
            assert f">{part}</text>" in drawn
    assert "book/_static/package.svg" in CONTRIBUTING
