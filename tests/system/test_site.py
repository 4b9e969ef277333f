"""The documentation as a site: Sphinx has nothing to complain of, and its links lead to pages of the site.

Sphinx and furo (the extra ``docs``) are in an environment of their own: see :mod:`tests.tools`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT
from tests.tools import tool

#: The parts of the table of contents, in the order in which a newcomer needs them.
PARTS = ["Start", "The contract", "Recipes", "Operate", "Secure", "Reliable", "Fast", "Inside"]


class _Page(HTMLParser):
    """What links of a page lead to, its anchors, and the captions in its margin."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.captions: list[str] = re.findall(r'<span class="caption-text">([^<]+)</span>', text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and ((name == "href" and tag in ("a", "link")) or name == "src"):
                self.links.append(value)
            elif value and name == "id":
                self.ids.add(value)


class SiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.program = tool("sphinx-build")
        self.site = Path(self.mktemp())

    def build(self, source: Path) -> subprocess.CompletedProcess[str]:
        """Make the site, with every warning an error."""
        command = [self.program, "-nqW", "--keep-going", "-c", source / "docs", "-d", self.mktemp(), source, self.site]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def test_the_site(self) -> None:
        built = self.build(ROOT)
        self.assertEqual((built.returncode, built.stdout + built.stderr), (0, ""))
        self.every_link_leads_somewhere()
        self.the_margin_has_the_order_of_the_index()
        self.links_to_other_sites_are_listed()

    def every_link_leads_somewhere(self) -> None:
        pages = {path: _Page(path.read_text(encoding="utf-8")) for path in self.site.resolve().rglob("*.html")}
        self.assertGreater(len(pages), 20)
        for path, page in pages.items():
            self.assertNotIn("unnecessary, and does not work", path.read_text(encoding="utf-8"), "the theme complains")
            for link in page.links:
                parts = urlsplit(link)
                if parts.scheme:
                    continue
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                self.assertTrue(target.exists(), f"{path}: {link}")
                self.assertNotEqual(target.suffix, ".rst", f"{path}: {link}")
                if parts.fragment and target in pages:
                    self.assertIn(unquote(parts.fragment), pages[target].ids | {"top", ""}, f"{path}: {link}")

    def the_margin_has_the_order_of_the_index(self) -> None:
        first = _Page((self.site / "docs" / "index.html").read_text(encoding="utf-8"))
        self.assertEqual(first.captions, PARTS)
        self.assertIn("docs/index.html", (self.site / "index.html").read_text(encoding="utf-8"))

    def links_to_other_sites_are_listed(self) -> None:
        listed = (self.site / "external-links.txt").read_text(encoding="utf-8").splitlines()
        self.assertGreater(len(listed), 10)
        for line in listed:
            self.assertRegex(line, r"^(https://[a-z0-9.-]+\.[a-z]+(/\S*)?|http://localhost:8080/)  \S+")

    def test_a_link_to_nowhere_is_an_error(self) -> None:
        source = Path(self.mktemp())
        for name in ("docs/conf.py", "wsaas/__init__.py", "wsaas/demo/icon.svg"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        for link, complaint in (
            ("page.rst#here", ""),
            ("../LICENSE", ""),
            ("page.rst#elsewhere", "no such section: page.rst#elsewhere"),
            ("#elsewhere", "no such section: #elsewhere"),
            ("none.rst", "download file not readable"),
            ("../none.txt", "download file not readable"),
        ):
            (source / "LICENSE").write_text("none", encoding="utf-8")
            (source / "docs" / "page.rst").write_text("Page\n====\n\nHere\n----\n\nText.\n", encoding="utf-8")
            index = f"Index\n=====\n\nPart\n----\n\n* `Page <page.rst>`__\n\n`Link <{link}>`__\n"
            (source / "docs" / "index.rst").write_text(index, encoding="utf-8")
            built = self.build(source)
            self.assertIn(complaint, built.stderr, link)
            self.assertEqual(built.returncode == 0, not complaint, f"{link}: {built.stderr}")
