"""The words that the book's prose does not use, each with the field's word for it, and where they stand.

``PYTHONPATH=book/_tools python -m reference.words`` lists every place, or those of the chapters that it is given.
Only prose is searched: text cells of the notebooks and the Markdown pages, without code, formulas, links' targets and
what stands between placeholders. A test holds every page to it.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from paths import ROOT, pages
from text.placeholders import without_marks

#: Words (a regular expression, any case, whole words) → what to write instead.
WORDS = {
    r"events?": "data point (torch's event_shape is code: `event_shape`)",
    r"codes|code(?= \$)|(?:its|their|the same|a normal|a known|each|every|half of the) code": "latent",
    r"code of (?:an?|the|its|each) (?:event|data|picture|image|digit|sample)s?": "latent",
    r"(?:gradients?|derivatives?) (?:of (?:\$·+\$|the [\w-]+) )?by(?= (?:\$|its |the |each |any |every |an? ))": (
        "with respect to"
    ),
    r"pass(?:es)? back|ways? back": "backward pass, inverse",
    r"dear(?:er|est)?": "expensive",
    r"foreign(?:ers?)?": "out-of-distribution",
    r"bent (?:functions?|networks?|maps?)": "nonlinearity",
    r"in vain": "warm-up call",
    r"(?:its|their|the|exact|whose) nats": "negative log-likelihood (NLL), in nats",
    r"owes?|affairs?|lends?": "what happens",
    r"fork(?:s|ed)?": "ablation",
    r"stands? (?:far )?(?:behind|ahead|above|below)": "is … nats higher, lower",
    r"whoever|who (?:puts|uses|goes|wants|reads|comes|has|knows)": "if you …",
    r"turned? round": "reverses",
    r"\w*(?:colour|behaviour|neighbour|favour)\w*|centre[sd]?|gre(?:y|ys|yscale)|judgement": "American spelling",
    r"\w*(?:al|im|or|tim|ant|ret|gan|nim|xim|dom)is(?:es?|ed|ing|ations?|er|ers)": "-ize, American spelling",
}
#: Where such a word is right; taken out before words are looked for.
FIXED = (
    r"example, sample, event\b|probability of an event",  # other texts' words, and the word of probability theory
    r"\b(?:promise|precise|exercise|likewise|otherwise|advise|premise)[sd]?\b",
)
CODE = r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$]*\$|<a .*?</a>|<[^>]*>|\]\([^)]*\)|https?://\S+|\{[\w:]+\}|\beq-[\w-]+"
EDGE = r"(?<![^\W_])(?:{})(?![^\W_])"


def prose(path: Path) -> str:
    """The text of a page, with what a glossary says; of a notebook its text cells."""
    if path.suffix == ".md":
        return path.read_text("utf-8").replace("```{glossary}", "")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def blank(text: str, pattern: str) -> str:
    """The text with every match replaced by marks of the same length, so that lines and places stay."""
    return re.sub(pattern, lambda found: re.sub(r"[^\n$]", "·", found[0]), text, flags=re.DOTALL | re.IGNORECASE)


def hits(text: str) -> Iterator[tuple[str, str, str]]:
    """Word, what to write instead, and the words around it, for each place in a text."""
    for pattern in (CODE, *FIXED):
        text = blank(text, pattern)
    line = " ".join(text.split())
    for pattern, new in WORDS.items():
        for found in re.finditer(EDGE.format(pattern), line, re.IGNORECASE):
            around = line[max(0, found.start() - 30) : found.end() + 30]
            yield found[0], new, around


def page_files() -> dict[str, Path]:
    """Name of a page → its file, in reading order."""
    files = (ROOT / f"{name}{suffix}" for name in pages() for suffix in (".ipynb", ".md"))
    return {path.stem: path for path in files if path.exists()}


def offenders() -> dict[str, list[tuple[str, str, str]]]:
    """Page → its places, in reading order; a page without any is left out."""
    found = {name: list(hits(without_marks(prose(path)))) for name, path in page_files().items()}
    return {name: places for name, places in found.items() if places}


def main(names: list[str]) -> int:
    shown = {name: places for name, places in offenders().items() if not names or name in names}
    for name, places in shown.items():
        print(f"{name}: {len(places)}")
        for word, new, around in places:
            print(f"    {word!r}: write {new}    … {around} …")
    return int(bool(shown))


if __name__ == "__main__":
    sys.exit(main([Path(name).stem for name in sys.argv[1:]]))
