"""How Sphinx makes a site of these pages: ``sphinx-build -nW -c docs . build/site``, at the root of the repository.

The pages are plain reStructuredText with relative links, so that they can be read anywhere: in an editor, in the
browser of a repository, in an archive. Here these links become those of the site. A link to nowhere is a warning, and
with ``-W`` an error. The order in the margin is that of ``index.rst``. Links to other sites are not followed but
listed, in ``external-links.txt``.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

ROOT = Path(__file__).parent.parent
_VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "wsaas" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
)

project = author = "WSAAS"
version = release = _VERSION[1] if _VERSION else ""
root_doc = "docs/index"
include_patterns = ["*.rst", "docs/*.rst", "examples/*.rst", "clients/*.rst"]
exclude_patterns = ["build", "dist", ".venv*", ".tox", "**/node_modules"]
highlight_language = "none"  # most blocks that name no language are commands
nitpicky = True

html_theme = "furo"
html_title = f"WSAAS {release}"
html_favicon = "../wsaas/demo/icon.svg"
html_show_copyright = html_show_sphinx = html_copy_source = False

_LOG = logging.getLogger(__name__)


def _target(docname: str, uri: str) -> tuple[str, str] | None:
    """:returns: path from the root, and anchor, of a link within the repository; :data:`None` for any other"""
    parts = urlsplit(uri)
    if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
        return None
    path = (
        posixpath.normpath(posixpath.join(posixpath.dirname(docname), parts.path)) if parts.path else f"{docname}.rst"
    )
    return path, parts.fragment


class Contents(SphinxTransform):
    """The margin: each section of the root page with its list of links is a part of the table of contents."""

    default_priority = 400

    def apply(self, **_kwargs: Any) -> None:
        """Add the tables of contents, which the page itself does not show a second time."""
        if self.env.docname != root_doc:
            return
        for section in self.document.findall(nodes.section):
            for listed in (child for child in section.children if isinstance(child, nodes.bullet_list)):
                links = [next(iter(item.findall(nodes.reference))) for item in listed.children]
                found = [(link.astext(), _target(root_doc, link["refuri"])) for link in links]
                pages = [(text, target[0].removesuffix(".rst")) for text, target in found if target is not None]
                pages = [(text, page) for text, page in pages if page in self.env.found_docs]
                caption = section[0].astext()
                contents = addnodes.toctree(
                    parent=root_doc, entries=pages, rawentries=[text for text, _ in pages], caption=caption,
                    rawcaption=caption, includefiles=[page for _, page in pages], glob=False, hidden=True,
                    includehidden=False, maxdepth=1, numbered=0, titlesonly=True,
                )  # fmt: skip
                section.append(contents)


class Margin(SphinxTransform):
    """The theme has the sections of a page in its margin: a list of them in the page itself is one too many."""

    default_priority = 900  # after those lists are made

    def apply(self, **_kwargs: Any) -> None:
        """Drop it, and the links back to it."""
        for topic in list(self.document.findall(nodes.topic)):
            if "contents" in topic["classes"]:
                topic.parent.remove(topic)
        for title in self.document.findall(nodes.title):
            title.attributes.pop("refid", None)


class Files(SphinxTransform):
    """Links to what is no page: the site has a copy of each such file."""

    default_priority = 400

    def apply(self, **_kwargs: Any) -> None:
        """Make them references to downloads, which Sphinx collects; a file that is not there is a warning."""
        for link in list(self.document.findall(nodes.reference)):
            target = _target(self.env.docname, link.get("refuri", ""))
            if target is None or target[0].removesuffix(".rst") in self.env.found_docs or (ROOT / target[0]).is_dir():
                continue
            file = addnodes.download_reference(
                "", "", *link.children, refdoc=self.env.docname, reftarget=f"/{target[0]}"
            )
            link.replace_self(file)


class Pages(SphinxPostTransform):
    """Links to other pages, and to their sections."""

    default_priority = 5

    def run(self, **_kwargs: Any) -> None:
        """Point each at the page of the site; one that leads nowhere is a warning."""
        here = self.env.docname
        for link in self.document.findall(nodes.reference):
            target = _target(here, link.get("refuri", "")) if not link.get("internal") else None
            if target is None:
                continue
            page, anchor = target[0].removesuffix(".rst"), target[1]
            if page not in self.env.found_docs:
                _LOG.warning("no such page: %s", link["refuri"], location=link)
            elif anchor and anchor not in self.env.get_doctree(page).ids:
                _LOG.warning("no such section: %s", link["refuri"], location=link)
            else:
                path = self.app.builder.get_relative_uri(here, page) if page != here else ""
                link["refuri"], link["internal"] = path + (f"#{anchor}" if anchor else ""), True


def _finish(app: Sphinx, failed: Exception | None) -> None:
    """List the links to other sites; lead who comes to the top of the site to its first page."""
    if failed or app.builder.name != "html":
        return
    listed: dict[str, set[str]] = {}
    for page in app.env.found_docs:
        for link in app.env.get_doctree(page).findall(nodes.reference):
            if urlsplit(link.get("refuri", "")).scheme:
                listed.setdefault(link["refuri"], set()).add(page)
    lines = [f"{uri}  {' '.join(sorted(listed[uri]))}\n" for uri in sorted(listed)]
    (Path(app.outdir) / "external-links.txt").write_text("".join(lines), encoding="utf-8")
    first = f"{root_doc}.html"
    text = (
        f'<!doctype html><meta charset="utf-8"><title>WSAAS</title><meta http-equiv="refresh" content="0; url={first}">'
    )
    (Path(app.outdir) / "index.html").write_text(f'{text}<a href="{first}">WSAAS</a>\n', encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the above to Sphinx.

    :returns: that it may read and write pages in parallel
    """
    app.add_transform(Contents)
    app.add_transform(Margin)
    app.add_transform(Files)
    app.add_post_transform(Pages)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
