"""The fonts that the pages bring: all files are named and licensed. That they are used, ``test_page`` sees."""

import re
from pathlib import Path

import pytest
from fonts import ALWAYS, CODE, DEJAVU, FONTS, LICENSES, SIGNS, TEXT, characters, covered, cut, rename
from fontTools.ttLib import TTFont
from paths import ROOT

FILES = {face.file for face in (*TEXT, *CODE, *SIGNS.values())}


def test_the_style_sheet_names_each_file_and_no_other() -> None:
    named = re.findall(r'url\("fonts/([^"]+)"\)', (ROOT / "book" / "_static" / "fonts.css").read_text("utf-8"))
    assert sorted(named) == sorted(FILES) == sorted(path.name for path in FONTS.glob("*.woff2"))


def test_they_are_small_and_have_their_licenses() -> None:
    assert sum((FONTS / name).stat().st_size for name in FILES) < 100_000
    assert all((FONTS / name).read_bytes().startswith(b"wOF2") for name in FILES)
    for name in LICENSES.values():
        assert "SIL OPEN FONT LICENSE Version 1.1" in (FONTS / name).read_text("utf-8")
        assert "Reserved Font Name" not in (FONTS / name).read_text("utf-8").partition("PREAMBLE")[0]
    assert "Bitstream Vera" in (FONTS / "LICENSE-Signs.txt").read_text("utf-8")


def test_what_may_be_seen_of_a_page_is_kept() -> None:
    html = '<p title="δ">a<span hidden>β</span></p><img alt="γ"><input value="ε"><script>ζ</script><style>η</style>'
    assert characters(html) == set("aβγδε")


def test_a_cut_has_its_own_name_and_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fonts.FONTS", tmp_path)
    monkeypatch.setattr("fonts.FLAVOR", None)  # packed, it takes a package that only who cuts fonts has to have
    [signs, _] = SIGNS.values()
    assert cut(DEJAVU / signs.source, signs, set("⟨⟩漢")) == set("⟨⟩")
    with TTFont(tmp_path / signs.file) as font:
        assert covered(font) == set("⟨⟩")
        assert {str(name) for name in font["name"].names if name.nameID in (1, 6)} == {"Book Signs", "BookSigns"}


def test_a_renamed_font_keeps_nothing_of_its_old_name() -> None:
    with TTFont(DEJAVU / "DejaVuSans.ttf") as font:
        rename(font, "Book Signs")
        assert not [str(name) for name in font["name"].names if name.nameID in (1, 6) and "DejaVu" in str(name)]


def test_what_may_be_written_tomorrow_is_there() -> None:
    assert set("äßéαΩ–„“≤∂ℝ⟨") <= ALWAYS
    assert all(len(sign) == 1 for sign in ALWAYS)
