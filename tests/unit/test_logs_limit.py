"""The rate limits of the log: clients cannot fill a disk, and omitted lines are counted."""

from __future__ import annotations

from io import StringIO
from typing import Any

from twisted.logger import LogEvent, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from wsaas.logs import MOST, LogLimit, LogSettings, format_text, make_observer


def event(at: float, text: str, many: str | None = None) -> LogEvent:
    """:returns: an event of a moment"""
    made: LogEvent = {"log_time": at, "log_format": text, "log_level": LogLevel.info, "log_namespace": "wsaas.test"}
    return made if many is None else {**made, "many": many}


class LogLimitTests(SynchronousTestCase):
    """Lines of a kind in a second."""

    def setUp(self) -> None:
        """Keep what passes."""
        self.passed: list[LogEvent] = []
        observer: Any = self.passed.append
        self.limit = LogLimit(observer, 3)

    @property
    def lines(self) -> list[str]:
        """What passed, without times."""
        return [format_text(each).split(" ", 1)[1].rstrip() for each in self.passed]

    def test_few(self) -> None:
        """They pass as they are, again in each second."""
        for second in range(3):
            for number in range(3):
                self.limit(event(100 + second + number / 10, "refused", "refusals"))
        self.assertEqual(self.lines, ["INFO  wsaas.test refused"] * 9)

    def test_many(self) -> None:
        """How many more there were is told before the next line of any kind."""
        for number in range(10):
            self.limit(event(100 + number / 20, f"refused {number}", "refusals"))
        self.limit(event(100.9, "other"))
        self.assertEqual(len(self.lines), 4)
        self.limit(event(161.0, "stopping"))
        self.assertEqual(
            self.lines[3:],
            [
                "INFO  wsaas.test other",
                "WARN  wsaas.logs 7 more lines about refusals in a second are left out",
                "INFO  wsaas.test stopping",
            ],
        )
        self.limit(event(162.0, "stopped"))
        self.assertEqual(len(self.lines), 7)

    def test_kinds(self) -> None:
        """Each counts for itself; what is not limited always passes."""
        for number in range(10):
            for text, many in (("refused", "refusals"), ("late", "late ones"), ("fault", None)):
                self.limit(event(100 + number / 20, text, many))
        self.limit(event(101, "next"))
        self.assertEqual(sum("wsaas.test fault" in line for line in self.lines), 10)
        self.assertEqual(sum("7 more lines" in line for line in self.lines), 2)

    def test_in_the_log(self) -> None:
        """As the process has it, as JSON too; the word for what there is many of is no part of a line."""
        for form in ("text", "json"):
            stream = StringIO()
            observer = make_observer(LogSettings(level="INFO", format=form), stream.write)
            for _ in range(MOST + 5):
                observer(event(100, "refused", "refusals"))
            observer(event(101, "next"))
            lines = stream.getvalue().splitlines()
            self.assertEqual(len(lines), MOST + 2)
            self.assertIn("5 more lines about refusals", lines[MOST])
            self.assertNotIn("refusals", lines[0])
