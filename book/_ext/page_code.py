"""What a page shows of a chapter's code: that from which its reader learns. The notebook keeps all of it.

The cell that installs the package is one small line to unfold. Calls of ``measured``, which store numbers for the text,
are left out, and with them a cell that holds nothing else or, folded, shows nothing else. What an exercise says of its
untouched stub is left out too.
"""

import ast
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

INSTALL = "snf-install"
PROMPT = "import or install the package"
#: How the verdict on an untouched stub begins, and what asks for it.
WRONG, CHECK = "✗", "exercises.check_"


def measuring(source: str) -> list[ast.stmt]:
    """The top-level calls of ``measured`` in a cell, and its import where nothing else is imported with it."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a command of IPython
        return []
    return [one for one in statements if stores(one) or imports(one)]


def stores(statement: ast.stmt) -> bool:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return False
    return isinstance(statement.value.func, ast.Name) and statement.value.func.id == "measured"


def imports(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and [one.name for one in statement.names] == ["measured"]


def taught(source: str) -> str:
    """The source of a cell without what it measures for the text; empty if nothing remains."""
    lines = source.splitlines()
    for statement in reversed(measuring(source)):
        del lines[statement.lineno - 1 : statement.end_lineno]
    kept = "\n".join(lines).strip("\n")
    while "\n\n\n\n" in kept:
        kept = kept.replace("\n\n\n\n", "\n\n\n")
    return kept


def ends_with_measuring(source: str) -> bool:
    return bool(found := measuring(source)) and source.rstrip().count("\n") + 1 == found[-1].end_lineno


class ShowWhatTeaches(SphinxPostTransform):
    """Changes the cells of a page before MyST-NB folds them."""

    default_priority = 6  # SelectMimeType has 4: by now it is known which outputs show something

    def run(self, **kwargs: Any) -> None:
        for cell in list(cells(self.document)):
            self.clean(cell)

    def clean(self, cell: nodes.container) -> None:
        shown = part(cell, "cell_code_source")
        output = part(cell, "cell_code_output")
        source = shown.astext() if shown is not None else ""
        if output is not None and (not output.children or is_stub(source, output)):
            cell.remove(output)
            output = None
        if shown is None:
            return
        kept = taught(source)
        folded = cell.get("hide_mode") == "input"
        if not kept or (folded and output is None and ends_with_measuring(source)):
            cell.remove(shown)
        elif kept != source.strip("\n"):
            rewrite(shown, kept)
        if "%pip install" in source and "import snf_lite as snf" in source:
            fold_away(cell)
        if not cell.children:
            cell.parent.remove(cell)


def cells(document: nodes.document) -> Iterator[nodes.container]:
    for node in document.findall(nodes.container):
        if node.get("nb_element") == "cell_code":
            yield node


def part(cell: nodes.container, name: str) -> nodes.container | None:
    return next((child for child in cell.children if child.get("nb_element") == name), None)


def is_stub(source: str, output: nodes.container) -> bool:
    return CHECK in source and output.astext().startswith(WRONG)


def rewrite(shown: nodes.container, source: str) -> None:
    """Give the block of code in a cell another text."""
    for block in shown.findall(nodes.literal_block):
        block.rawsource = source
        block.children = []
        block += nodes.Text(source)


def fold_away(cell: nodes.container) -> None:
    cell["classes"].append(INSTALL)
    cell["hide_mode"], cell["prompt_show"], cell["prompt_hide"] = "all", f"Show: {PROMPT}", f"Hide: {PROMPT}"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(ShowWhatTeaches)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
