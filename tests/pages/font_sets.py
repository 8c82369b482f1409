"""The page tests on machines with other fonts: ``python tests/pages/font_sets.py [SET ...] [-- TEST ...]``.

Each set is unpacked from Debian's packages into a folder (nothing is installed) and is then all that the browser finds,
through ``FONTCONFIG_FILE``. That works on Debian and Ubuntu; macOS and Windows have no fontconfig.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = [
    "tests/pages/test_page.py",
    "tests/pages/test_offline.py",
    "tests/pages/test_pdf.py",
    "tests/book/test_one_page.py",
]
TOOLS = ("apt-get", "dpkg-deb")


@dataclass(frozen=True)
class FontSet:
    """Debian's packages, and the families that a page gets who asks for no font by name."""

    packages: tuple[str, ...]
    sans: str
    mono: str


SETS = {
    "dejavu": FontSet(("fonts-dejavu-core",), "DejaVu Sans", "DejaVu Sans Mono"),
    "liberation": FontSet(("fonts-liberation",), "Liberation Sans", "Liberation Mono"),
    "noto": FontSet(("fonts-noto-core", "fonts-noto-mono"), "Noto Sans", "Noto Mono"),
    "roboto": FontSet(("fonts-roboto-unhinted",), "Roboto", "Roboto"),
}
CONFIGURATION = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{fonts}</dir>
  <cachedir>{cache}</cachedir>
  {rules}
</fontconfig>
"""
RULE = """<match target="pattern">
    <test name="family"><string>{asked}</string></test>
    <edit name="family" mode="assign" binding="strong"><string>{given}</string></edit>
  </match>"""


def prepare(name: str, folder: Path) -> Path:
    """Unpack a set below ``folder``, unless it is there; the path of its configuration is returned."""
    chosen, place = SETS[name], folder / name
    configuration = place / "fonts.conf"
    if not configuration.exists():
        fonts = place / "fonts"
        fonts.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-qq", "download", *chosen.packages], cwd=place, check=True)
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package.name, "fonts"], cwd=place, check=True)
        given = {"sans-serif": chosen.sans, "serif": chosen.sans, "monospace": chosen.mono}
        rules = "\n  ".join(RULE.format(asked=asked, given=family) for asked, family in given.items())
        text = CONFIGURATION.format(fonts=fonts, cache=place / "cache", rules=rules)
        configuration.write_text(text, "utf-8")
    return configuration


def tried(name: str, folder: Path, tests: list[str]) -> tuple[int, str]:
    """The exit status of the tests with one set, and a line about them."""
    environment = {**os.environ, "FONTCONFIG_FILE": str(prepare(name, folder))}
    begin = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", *(tests or TESTS)]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return status, f"{name:10} {'passed' if status == 0 else 'FAILED':6} {time.monotonic() - begin:5.0f} s"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all of them unless told")
    asked.add_argument("--folder", type=Path, help="where the sets are unpacked, and kept")
    asked.add_argument("--prepare", action="store_true", help="only unpack, and print the configurations' paths")
    given = [*sys.argv[1:], "--"]
    end = given.index("--")
    told, tests = asked.parse_args(given[:end]), given[end + 1 : -1]
    if unknown := set(told.sets) - set(SETS):
        asked.error(f"no such set: {', '.join(sorted(unknown))}")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        asked.error(f"{' and '.join(missing)} unpacks the fonts, and is not here: this works on Debian and Ubuntu")
    with tempfile.TemporaryDirectory(prefix="fonts-") as temporary:
        folder = (told.folder or Path(temporary)).resolve()
        names = told.sets or list(SETS)
        if told.prepare:
            print(*(prepare(name, folder) for name in names), sep="\n")
            return
        results = [tried(name, folder, tests) for name in names]
    print(*(line for _, line in results), sep="\n")
    sys.exit(any(status for status, _ in results))


if __name__ == "__main__":
    main()
