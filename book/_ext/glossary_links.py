"""Where a chapter first uses a term of the glossary, the word leads there, and the general index names the chapter.

In a notebook it is a plain word: a role of Sphinx would show as such on Colab. Only running text is searched: no
headings, links, code, formulas, tables, words in bold, exercises.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

GLOSSARY = "book/glossary"
CLASS = "snf-term"
LISTED = re.compile(r"```\{glossary\}\n(.*?)```", re.DOTALL)
ABBREVIATED = re.compile(r"(.+) \((\w+)\)")
#: Words that a chapter also uses as everybody does; a link from each of its pages would often explain something else.
EVERYDAY = {"mode", "tie", "typical"}


def terms(glossary: str) -> list[str]:
    """The terms of the glossary's source: the lines that are not indented."""
    found = LISTED.search(glossary)
    return [line for line in found[1].splitlines() if line.strip() and not line.startswith(" ")] if found else []


def forms(term: str) -> list[str]:
    """A term as it may stand in a text: without its abbreviation in parentheses, and the abbreviation."""
    found = ABBREVIATED.fullmatch(term)
    return [found[1], found[2]] if found else [term]


def pattern(form: str) -> str:
    """A whole word, also in the plural and at the beginning of a sentence; an abbreviation as it is."""
    first = form[0] if form[:2].isupper() or form[0].isupper() else f"[{form[0]}{form[0].upper()}]"
    rest = re.escape(form[1:]).replace(r"\ ", r"\s+")
    end = f"(?:{rest}|{rest[:-1]}ies)" if form.endswith("y") else f"{rest}(?:e?s)?"
    return rf"(?<![\w-]){first}{end}(?![\w-])"


def running(document: nodes.document) -> Iterator[nodes.Text]:
    """The pieces of running text of a page, in order."""
    for text in document.findall(nodes.Text):
        node = text.parent
        while isinstance(node, nodes.emphasis):
            node = node.parent
        if isinstance(node, nodes.paragraph) and not within(node, (nodes.admonition, nodes.table, nodes.container)):
            yield text


def within(node: nodes.Node | None, kinds: tuple[type[nodes.Node], ...]) -> bool:
    while node is not None and not isinstance(node, kinds):
        node = node.parent
    return node is not None


class FirstUses(SphinxTransform):
    """Links the first use of each term in a notebook to the glossary, and notes it for the index."""

    default_priority = 841  # behind the boxes of the exercises; SphinxDomains, which collects the index, has 850

    def apply(self, **kwargs: Any) -> None:
        is_chapter = self.env.doc2path(self.env.docname).endswith(".ipynb")
        if not is_chapter or GLOSSARY not in self.env.found_docs:  # a book may have no glossary
            return
        source = Path(self.env.doc2path(GLOSSARY))
        self.env.note_dependency(str(source))
        self.title = next((title.astext() for title in self.document.findall(nodes.title)), "")
        listed = [term for term in terms(source.read_text("utf-8")) if term not in EVERYDAY]
        words = {form: term for term in listed for form in forms(term)}
        longest = sorted(words, key=len, reverse=True)
        self.search = re.compile("|".join(f"({pattern(form)})" for form in longest))
        self.of = [words[form] for form in longest]
        self.met: set[str] = set()
        for text in list(running(self.document)):
            pieces = list(self.pieces(text.astext()))
            if len(pieces) > 1:
                at = text.parent.index(text)
                text.parent[at : at + 1] = pieces

    def pieces(self, text: str) -> Iterator[nodes.Node]:
        """A text cut where it uses a term for the first time."""
        done = 0
        for found in self.search.finditer(text):
            term = self.of[(found.lastindex or 1) - 1]
            if term not in self.met:
                self.met.add(term)
                if found.start() > done:
                    yield nodes.Text(text[done : found.start()])
                yield from self.linked(found[0], term)
                done = found.end()
        if done < len(text):
            yield nodes.Text(text[done:])

    def linked(self, word: str, term: str) -> Iterator[nodes.Node]:
        """An entry of the index, and the word as a link."""
        name = nodes.make_id(f"term-in-text-{term}")
        yield addnodes.index(entries=[("single", f"{term}; {self.title}", name, "", None)])
        link = addnodes.pending_xref(
            refdomain="std", reftype="term", reftarget=term, refexplicit=True, refwarn=True, refdoc=self.env.docname
        )
        link += nodes.inline("", word, classes=[CLASS])
        yield nodes.inline("", "", link, ids=[name])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(FirstUses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
