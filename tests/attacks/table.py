"""The table of attacks in ``docs/security.rst``, made of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import tests.attacks
from tests.attacks.attack import Attack, AttackTestCase
from tests.processes import ROOT

PAGE = ROOT / "docs" / "security.rst"
BEGIN = ".. The table down to the next such comment is written by: python -m tests.attacks"
END = ".. end of the table"


def attacks() -> list[tuple[str, list[Attack]]]:
    """:returns: the headings and their attacks, in the order of the modules and of what stands in them"""
    found: dict[str, list[Attack]] = {}
    for module in sorted(iter_modules(tests.attacks.__path__), key=lambda it: it.name):
        if module.name.startswith("test_"):
            for title, row in _rows(import_module(f"tests.attacks.{module.name}")):
                found.setdefault(title, []).append(row)
    return list(found.items())


def _rows(module: ModuleType) -> Iterator[tuple[str, Attack]]:
    for case in vars(module).values():
        if isinstance(case, type) and issubclass(case, AttackTestCase) and case.__module__ == module.__name__:
            for method in vars(case).values():
                row = getattr(method, "attack", None)
                if row is not None:
                    yield case.title, row


def table() -> str:
    """:returns: the tables, in reStructuredText; the rows are numbered through"""
    pieces = []
    number = 0
    for title, rows in attacks():
        lines = [title, "-" * len(title), "", ".. list-table::", "   :header-rows: 1", "   :widths: 4 26 34 18 18", ""]
        lines += _row("", "attack", "what was sent", "what came back", "what the API was told")
        for row in rows:
            number += 1
            lines += _row(str(number), row.name, row.sent, row.answer, row.api)
        pieces.append("\n".join(lines))
    return "\n\n\n".join(pieces)


def _row(*cells: str) -> list[str]:
    marks = ["   * - ", *["     - "] * (len(cells) - 1)]
    return [f"{mark}{cell}".rstrip() for mark, cell in zip(marks, cells, strict=True)]


def written(page: str) -> str:
    """:returns: a page's text with the table in it

    :raises ValueError: the page has no place for it
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the table")
    return f"{before}{begin}\n\n{table()}\n\n{end}{after}"


def write(page: Path = PAGE) -> None:
    """Write the table into its page."""
    page.write_text(written(page.read_text("utf-8")), "utf-8")
