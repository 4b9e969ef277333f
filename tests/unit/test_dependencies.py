"""``docs/dependencies.rst`` against the code: every private name of a library that is used, and no other."""

from __future__ import annotations

import importlib
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

import wsaas
from tests.private_names import private_names

PAGE = Path(wsaas.__file__).parent.parent / "docs" / "dependencies.rst"


class PrivateNamesTests(SynchronousTestCase):
    """The table of private names."""

    def setUp(self) -> None:
        """Read it."""
        body = next(publish_doctree(PAGE.read_text(encoding="utf-8")).findall(nodes.tbody))
        self.rows = [list(row.findall(nodes.entry)) for row in body.findall(nodes.row)]

    def test_the_code_uses_what_the_table_has(self) -> None:
        """Each row names a module and what it uses."""
        listed = set()
        for names, _, where, *_ in self.rows:
            module = "wsaas." + where.astext().removesuffix(".py").replace("/", ".")
            listed |= {(module, literal.astext()) for literal in names.findall(nodes.literal)}
        found = private_names()
        self.assertEqual(found - listed, set(), "used, and not in the table")
        self.assertEqual(listed - found, set(), "in the table, and not used")

    def test_each_has_a_reason_and_tests(self) -> None:
        """The tests exist."""
        self.assertGreater(len(self.rows), 5)
        for *_, why, tests in self.rows:
            self.assertGreater(len(why.astext()), 20)
            importlib.import_module(tests.astext())
