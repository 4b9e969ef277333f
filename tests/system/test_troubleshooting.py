"""``docs/troubleshooting.rst``: its headings are lines and codes that there are, and each alert leads to one."""

from __future__ import annotations

import ast
import re

from tests.processes import ROOT
from tests.system.test_docs import ParsedTestCase
from wsaas.connections.messages import ClosedBy

try:
    from docutils import nodes
except ImportError:
    pass  # its tests are skipped

PAGE = ROOT / "docs" / "troubleshooting.rst"
ALERTS = ROOT / "docs" / "alerts.rules.yml"
#: What stands for something that differs, in a heading and in a string of the program.
DIFFERS = re.compile(r"…|\b[0-9]{3,4}\b|\{[^{}]*\}|\bAPI_[A-Z]+\b")
#: What browsers say.
NOT_OURS = re.compile("WebSocket connection to|Mixed Content|Ws-…|Ws-Publish|414|431")


def texts() -> list[str]:
    """:returns: every piece of text in the program, without what differs"""
    found = []
    for module in (ROOT / "wsaas").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += DIFFERS.split(node.value)
    return found


class TroubleshootingTests(ParsedTestCase):
    """The page, against the program and the alert rules."""

    def titles(self) -> dict[str, list[str]]:
        """:returns: the literals in each title, by title"""
        tree = self.parse(PAGE)
        return {
            title.astext(): [literal.astext() for literal in title.findall(nodes.literal)]
            for title in tree.findall(nodes.title)
        }

    def test_lines_of_the_log_and_codes(self) -> None:
        """What stands literally in a heading is what the program says."""
        said, seen = texts(), 0
        closed_by = {by.value for by in ClosedBy}
        for literal in (literal for literals in self.titles().values() for literal in literals):
            if closed := re.fullmatch(r"closed: [0-9]{4} by (\w+)", literal):
                self.assertIn(closed[1], closed_by)
                seen += 1
            elif not NOT_OURS.match(literal):
                for piece in filter(None, (piece.strip(" :") for piece in DIFFERS.split(literal))):
                    self.assertTrue(any(piece in text for text in said), piece)
                    seen += 1
        self.assertGreater(seen, 40)

    def test_each_alert_has_its_heading(self) -> None:
        """And leads to it."""
        rules = ALERTS.read_text(encoding="utf-8")
        alerts = re.findall(r"- alert: (\w+)", rules)
        [section] = [part for part in self.parse(PAGE).findall(nodes.section) if part[0].astext() == "Alerts"]
        headed = {part[0].astext(): part["ids"][0] for part in section.findall(nodes.section) if part is not section}
        self.assertEqual(list(headed), alerts)
        urls = re.findall(r'^ +runbook_url: "(.*)"$', rules, re.MULTILINE)
        self.assertEqual(urls, [f"{PAGE.name}#{headed[alert]}" for alert in alerts])
