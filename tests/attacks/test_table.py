"""The table of attacks: that it is in the documentation as the tests have it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.attacks.table import PAGE, attacks, table, written


class TableTests(SynchronousTestCase):
    """``docs/security.rst``."""

    def test_written(self) -> None:
        """The page has it as it is; ``python -m tests.attacks`` writes it."""
        page = PAGE.read_text("utf-8")
        self.assertEqual(page, written(page))

    def test_every_attack_is_a_row(self) -> None:
        """Sixty or more, no two of one name, no cell empty."""
        rows = [row for _, rows in attacks() for row in rows]
        self.assertGreaterEqual(len(rows), 60)
        self.assertEqual(len({row.name for row in rows}), len(rows))
        for row in rows:
            self.assertTrue(row.name and row.sent and row.answer and row.api, row)
            self.assertIn(f"     - {row.sent}\n", table())

    def test_a_page_without_a_place(self) -> None:
        """It is not written somewhere."""
        self.assertRaises(ValueError, written, "a page")
