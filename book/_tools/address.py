"""Move the project to another public address: the command behind ``make address URL=https://github.com/someone/theirs``.

Every mention in the project's text files follows: the repository, in whatever way its address is written, and the site
that GitHub publishes from it. In a notebook the names of the cells with a mention follow too; nothing is run again.
All new texts are made before the first is written, each file is replaced in one step, and ``_config.yml``, which gives
the old address, comes last: a command that was interrupted can be given again. What README and the first page say about
an address that is a placeholder goes with the placeholder, and comes back with it.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import status
from paths import ROOT, cell_names, public_address, text_files, unpublished, write
from text.placeholders import fill, marks

WANTED = "https://github.com/OWNER/NAME, without .git or a slash at its end"
FORM = re.compile(r"https://github\.com/([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)/([\w.-]*[\w-])", re.ASCII | re.IGNORECASE)
#: Pages with a note while the address is a placeholder.
FIRST_PAGES = (ROOT / "README.md", ROOT / "book" / "welcome.md")
HOSTS = r"(?:github\.com[/:]|github\.com/repos/|githubusercontent\.com/|google\.com/github/)"
END = r"(?![\w-]|\.(?!git\b)\w)"  # not the beginning of a longer name


def parts(address: str) -> tuple[str, str]:
    """Owner and name of a repository. ValueError if the address is not in the form of one."""
    found = FORM.fullmatch(address)
    if not found or found[2].endswith(".git"):
        raise ValueError(f"expected URL={WANTED}, got {address!r}.")
    return found[1], found[2]


def moved(text: str, old: str, new: str) -> str:
    """The text with the new address wherever it had the old one."""
    (owner, name), (new_owner, new_name) = parts(old), parts(new)
    text = re.sub(rf"({HOSTS}){re.escape(owner)}/{re.escape(name)}{END}", rf"\g<1>{new_owner}/{new_name}", text)
    site = rf"(?<![\w.-]){re.escape(owner)}\.github\.io/{re.escape(name)}{END}"
    return re.sub(site, f"{new_owner}.github.io/{new_name}", text)


def moved_notebook(text: str, old: str, new: str) -> str:
    """The same for a stored notebook, whose cells are named by what they contain."""
    after = moved(text, old, new)
    for before, name in zip(names(text), names(after), strict=True):
        if before != name:
            after = after.replace(f'"id": "{before}"', f'"id": "{name}"')
    return after


def moved_page(text: str, old: str, new: str) -> str:
    """The same for a page with a note that the address is a placeholder."""
    after = moved(text, old, new)
    return fill(after, {**dict(marks(after)), "placeholder": unpublished(new)})


def names(notebook: str) -> Iterator[str]:
    return cell_names("".join(cell["source"]) for cell in json.loads(notebook)["cells"])


def changes(old: str, new: str) -> dict[Path, str]:
    """The files that change with the address, with their new text."""
    found = {}
    for path in text_files():
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:  # nothing that anybody wrote here
            continue
        follow = moved_page if path in FIRST_PAGES else moved_notebook if path.suffix == ".ipynb" else moved
        after = follow(text, old, new)
        if after != text:
            found[path] = after
    return found


def move(new: str) -> list[Path]:
    """Write the new address into every file that has the old one; the files, ``_config.yml`` last."""
    found = changes(public_address(), new)
    order = sorted(found, key=lambda path: (path == ROOT / "_config.yml", path))
    for path in order:
        write(path, found[path])
    write(status.PAGE, status.page())  # it gives the sizes of the notebooks
    return order


def main(arguments: list[str]) -> None:
    try:
        changed = move(" ".join(arguments))
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"make address: {error}") from None
    print(f"The public address is {public_address()}; it was changed in {len(changed)} files.")
    print("".join(f"  {path.relative_to(ROOT).as_posix()}\n" for path in changed), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
