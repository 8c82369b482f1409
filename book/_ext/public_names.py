"""The page of the package, written by Sphinx from the docstrings (``book/api.md``).

Docstrings are written to be read in an editor: ``log|det J|``, ``(B, *event_shape)`` and ``(eq-change)`` stand in them
as they are. Here such text is made safe for reStructuredText, and names and equation labels in it become links. A label
that no chapter has stays as it is written.
"""

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.math import MathReferenceRole
from sphinx.util.docutils import SphinxDirective

import snf_lite

LITERAL = re.compile(r"(``.+?``|`.+?`)", re.DOTALL)
# an example, up to the next blank line
DOCTEST = re.compile(r"^( *>>> .*(?:\n *\S.*)*)", re.MULTILINE)
NAME = re.compile(r"([A-Za-z_][\w.]*)(?:\(\))?")
LABEL = re.compile(r"\beq-[a-z0-9-]*[a-z0-9]\b")
# |substitution|, *emphasis*, reference_ and, where a line begins with it, "D." as the first item of a list
MARKUP = re.compile(r"[*|\\]|_(?!\w)|(?<=\b\w)\.")
# how Python writes the defaults of a signature that are no literals
FACTORY, TYPE = re.compile(r"<factory>"), re.compile(r"<class '([\w.]+)'>")


def as_rst(docstring: str) -> str:
    """A docstring in which only examples, literals, names and equation labels mean anything to Sphinx."""
    pieces = [[piece] if index % 2 else LITERAL.split(piece) for index, piece in enumerate(DOCTEST.split(docstring))]
    return "".join(as_written(part) for parts in pieces for part in parts)


def as_written(part: str) -> str:
    """A piece of a docstring: an example, a literal or text."""
    if DOCTEST.match(part):
        return part
    return literal(part.strip("`")) if part.startswith("`") else plain(part)


def literal(text: str) -> str:
    """Code; a link where it is a name that the page has."""
    name = NAME.fullmatch(text)
    return f":py:obj:`{text} <{name[1]}>`" if name else f"``{text}``"


def plain(text: str) -> str:
    return LABEL.sub(r":numbered:`\g<0>`", MARKUP.sub(r"\\\g<0>", text))


def rewrite(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """For ``autodoc-process-docstring``: comes before napoleon, which reads the sections Args, Returns and Raises."""
    lines[:] = as_rst("\n".join(lines)).split("\n")


def readable_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """For ``autodoc-process-signature``: without the defaults that Sphinx cannot read it sets the rest properly.

    The constructor that a class inherits from another library is not described.
    """
    if inspect.isclass(obj) and not getattr(obj.__init__, "__module__", "").startswith(("snf_lite", "snf_book")):
        return "", None
    return (TYPE.sub(r"\1", FACTORY.sub("...", signature)), returns) if signature else None


class Numbered(MathReferenceRole):
    """The role of an equation that may be in no chapter yet."""

    def result_nodes(self, document: Any, env: Any, node: Any, is_ref: bool) -> tuple[list[nodes.Node], list[Any]]:
        node["refdomain"], node["reftype"], node["may_be_missing"] = "math", "eq", True
        return [node], []


def leave_label(app: Sphinx, env: Any, node: pending_xref, written: nodes.Element) -> nodes.Node | None:
    """For ``missing-reference``: without its equation the label is text, not an error."""
    return nodes.Text(written.astext()) if node.get("may_be_missing") else None


class Public(SphinxDirective):
    """``.. public:: snf_lite.dense`` shows the public part of that module, in the order of its source."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(inspect.getfile(snf_lite))
        module = importlib.import_module(self.arguments[0])
        return self.parse_text_to_nodes("\n".join(entry(module, name) for name in shown(module)))


def shown(module: ModuleType) -> list[str]:
    """What a module gives to ``snf_lite``, with its own classes that this is made from; else all that is public."""
    own = {name: value for name, value in vars(module).items() if defined_in(module, value)}
    given = {name for name in own if in_package(module, name)} or {name for name in own if not name.startswith("_")}
    bases = {base.__name__ for name in given if inspect.isclass(own[name]) for base in own[name].__mro__}
    return [name for name in own if name in given | bases]


def defined_in(module: ModuleType, value: Any) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__


def in_package(module: ModuleType, name: str) -> bool:
    return name in snf_lite.__all__ and getattr(snf_lite, name) is getattr(module, name)


def entry(module: ModuleType, name: str) -> str:
    """The directive that documents one name, under the shortest name by which it can be imported."""
    value = getattr(module, name)
    kind = "function" if not inspect.isclass(value) else "exception" if issubclass(value, Exception) else "class"
    owner = "snf_lite" if in_package(module, name) else module.__name__
    derived = inspect.isclass(value) and value.__bases__ != (object,)
    return f".. auto{kind}:: {owner}.{name}\n" + "   :show-inheritance:\n" * derived


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("public", Public)
    app.add_role("numbered", Numbered())
    app.connect("autodoc-process-docstring", rewrite, priority=400)  # napoleon listens at 500
    app.connect("autodoc-process-signature", readable_defaults)
    app.connect("missing-reference", leave_label)
    return {"version": snf_lite.__version__, "parallel_read_safe": True}
