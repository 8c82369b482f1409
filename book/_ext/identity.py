"""How the book presents itself: its name beside the logo, and what a message or a post shows of a link to a page.

That is title, address and picture of the page (Open Graph). A picture needs a full address. It follows from that of the
repository in ``_config.yml``, so it moves with it: GitHub serves the pages of ``github.com/OWNER/NAME`` at
``OWNER.github.io/NAME``.
"""

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

#: Below the folder of static files; ``text/share_image.py`` makes it.
IMAGE, SIZE = "share.png", (1200, 630)
IMAGE_WORDS = "Two maps that undo each other exchange their matrices: R in the gradient of W, and W in that of R."


def site(repository: str) -> str:
    """Where the pages of a repository are published; ValueError if it is not on GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w-]+)/([\w.-]+)", repository)
    if not found:
        raise ValueError(f"expected the address of a repository on GitHub, got {repository!r}.")
    return f"https://{found[1].lower()}.github.io/{found[2]}"


def properties(repository: str, page: str, title: str, book: str) -> dict[str, str]:
    """The properties of a page."""
    home = site(repository)
    return {
        "og:type": "article",
        "og:site_name": book,
        "og:title": title,
        "og:url": f"{home}/{page}.html",
        "og:image": f"{home}/_static/{IMAGE}",
        "og:image:width": str(SIZE[0]),
        "og:image:height": str(SIZE[1]),
        "og:image:alt": IMAGE_WORDS,
    }


def add(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Write the properties into the head of a page."""
    if doctree is None:
        return
    title = re.sub(r"^\d+\. ", "", re.sub(r"<[^>]+>", "", html.unescape(context.get("title", ""))))
    found = properties(app.config.html_theme_options["repository_url"], page, title, app.config.html_title)
    lines = [f'<meta property="{name}" content="{html.escape(text)}" />' for name, text in found.items()]
    lines.append('<meta name="twitter:card" content="summary_large_image" />')
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])


def name_beside_logo(app: Sphinx, config: Config) -> None:
    """Else a reader sees the logo alone. (The settings of the theme in ``_config.yml`` would replace all others.)"""
    config.html_theme_options["logo"] = {"text": config.html_title}


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", name_beside_logo)
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
