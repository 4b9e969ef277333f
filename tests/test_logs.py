"""What the log looks like (``LOG_LEVEL``, ``LOG_FORMAT``)."""

from __future__ import annotations

import json
import sys
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.logs import LineObserver, format_json, format_text, make_observer
from wsaas.settings import LogSettings

#: 2023-11-14T22:13:20.123Z
TIME = 1_700_000_000.123


def event(text: str = "{tag} opened", level: Any = LogLevel.info, **values: Any) -> LogEvent:
    """:returns: an event as twisted.logger makes it"""
    return {
        "log_time": TIME,
        "log_level": level,
        "log_namespace": "wsaas.upgrade",
        "log_format": text,
        "log_source": None,
        **values,
    }


def failure() -> Failure:
    """:returns: a failure with a traceback"""
    try:
        raise RuntimeError("first line\nforged: line")
    except RuntimeError:
        return Failure()


class TextTests(SynchronousTestCase):
    """Lines for people."""

    def test_a_line(self) -> None:
        """Time in UTC to the millisecond, level, who says it, what."""
        self.assertEqual(format_text(event(tag="abc")), "2023-11-14T22:13:20.123Z INFO  wsaas.upgrade abc opened\n")

    def test_levels_have_one_width(self) -> None:
        """The words of LOG_LEVEL; Twisted's critical is an error."""
        for level, word in (
            (LogLevel.debug, "DEBUG"),
            (LogLevel.info, "INFO "),
            (LogLevel.warn, "WARN "),
            (LogLevel.error, "ERROR"),
            (LogLevel.critical, "ERROR"),
        ):
            self.assertIn(f"Z {word} wsaas", format_text(event("x", level)))

    def test_a_traceback_is_indented(self) -> None:
        """It belongs to the line above, and its last line too ends there."""
        text = format_text(event("broken", LogLevel.critical, log_failure=failure()))
        first, *rest = text.removesuffix("\n").split("\n")
        self.assertTrue(first.endswith("broken"))
        self.assertIn("RuntimeError", text)
        self.assertTrue(rest)
        for line in rest:
            self.assertTrue(line.startswith("    "), line)

    def test_an_event_without_a_namespace(self) -> None:
        """Old code has none."""
        bare = event("x")
        del bare["log_namespace"]
        self.assertIn(" INFO  - x\n", format_text(bare))

    @moderately
    @given(st.text(st.characters(), max_size=60))
    def test_what_clients_send_makes_no_line_of_its_own(self, text: str) -> None:
        """Whatever control characters it has, and nothing that would move the cursor of a terminal."""
        line = format_text(event("{path}", path=text))
        self.assertTrue(line.endswith("\n"))
        for index, part in enumerate(line.removesuffix("\n").split("\n")):
            self.assertTrue(part.isprintable(), part)
            self.assertTrue(index == 0 or part.startswith("    "))
        line.encode("utf-8")


class JsonTests(SynchronousTestCase):
    """Lines for programs."""

    def test_an_object(self) -> None:
        """The message, and the values in it beside it."""
        record = json.loads(format_json(event(tag="abc", status=403, ok=True, nothing=None, share=0.5)))
        self.assertEqual(
            record,
            {
                "time": "2023-11-14T22:13:20.123Z",
                "level": "INFO",
                "logger": "wsaas.upgrade",
                "message": "abc opened",
                "tag": "abc",
                "status": 403,
                "ok": True,
                "nothing": None,
                "share": 0.5,
            },
        )

    def test_values_cannot_take_the_place_of_the_fixed_members(self) -> None:
        """Nor are objects of the program written, which may hold anything."""
        record = json.loads(format_json({**event("x"), "time": 0, "level": "?", "message": "?", "logger": object()}))
        self.assertEqual(record["message"], "x")
        self.assertEqual((record["level"], record["logger"]), ("INFO", "wsaas.upgrade"))
        self.assertNotIn("factory", json.loads(format_json(event("x", factory=object()))))

    def test_a_traceback_is_a_member(self) -> None:
        """Still one line."""
        line = format_json(event("broken", LogLevel.critical, log_failure=failure()))
        self.assertEqual(line.count("\n"), 1)
        self.assertIn("RuntimeError: first line", json.loads(line)["traceback"])

    @moderately
    @given(
        st.text(st.characters(), max_size=60),
        st.dictionaries(
            st.text("abcdefgh", min_size=1, max_size=5),
            st.text(st.characters(), max_size=10)
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.binary(max_size=5),
            max_size=3,
        ),
    )
    def test_any_event_is_one_line_of_json(self, text: str, values: dict[str, Any]) -> None:
        """Whatever clients send; in ASCII, so that any stream can take it."""
        line = format_json({**event("{path}"), **values, "path": text})
        self.assertEqual(line.count("\n"), 1)
        line.encode("ascii")
        record = json.loads(line)
        self.assertEqual(record["message"], text)


class _FullDisk(StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class ObserverTests(SynchronousTestCase):
    """Where lines go, and which."""

    def lines(self, level: str, form: str = "text") -> tuple[StringIO, Logger]:
        """:returns: a stream, and a logger whose events end there"""
        stream = StringIO()
        observer = make_observer(LogSettings(level, form), stream)
        return stream, Logger(namespace="wsaas.test", observer=observer)

    def test_a_level_shows_itself_and_what_is_worse(self) -> None:
        """All four of LOG_LEVEL."""
        for level, shown in (("ERROR", "ec"), ("WARN", "wec"), ("INFO", "iwec"), ("DEBUG", "diwec")):
            stream, source = self.lines(level)
            source.debug("d")
            source.info("i")
            source.warn("w")
            source.error("e")
            source.critical("c")
            self.assertEqual("".join(line[-1] for line in stream.getvalue().splitlines()), shown)

    def test_the_form_is_chosen(self) -> None:
        """By LOG_FORMAT."""
        stream, source = self.lines("INFO", "json")
        source.info("{count} connections", count=3)
        record = json.loads(stream.getvalue())
        self.assertEqual((record["message"], record["count"]), ("3 connections", 3))
        stream, source = self.lines("INFO", "text")
        source.info("hello")
        self.assertTrue(stream.getvalue().endswith(" INFO  wsaas.test hello\n"))

    def test_what_twisted_tells_of_its_factories_is_debugging(self) -> None:
        """Its warnings are shown all the same."""
        for level, shown in (("INFO", ["warning"]), ("DEBUG", ["starting", "warning"])):
            stream = StringIO()
            observer = make_observer(LogSettings(level, "text"), stream)
            for namespace in ("log_legacy", "twisted.web.client", "twisted.web.server"):
                stream.seek(0)
                stream.truncate()
                source = Logger(namespace=namespace, observer=observer)
                source.info("starting")
                source.warn("warning")
                self.assertEqual([line.split()[-1] for line in stream.getvalue().splitlines()], shown)

    def test_a_quieter_level_is_not_overruled_for_them(self) -> None:
        """ERROR hides their warnings."""
        stream = StringIO()
        source = Logger(namespace="twisted.web.client", observer=make_observer(LogSettings("ERROR", "text"), stream))
        source.warn("warning")
        self.assertEqual(stream.getvalue(), "")

    def test_standard_output_if_not_told_otherwise(self) -> None:
        """As twistd --nodaemon has it."""
        stream = StringIO()
        self.patch(sys, "stdout", stream)
        Logger(namespace="x", observer=make_observer(LogSettings("INFO", "text"))).info("hello")
        self.assertIn("hello", stream.getvalue())

    def test_a_log_that_cannot_be_written_does_not_end_the_service(self) -> None:
        """A full disk, a closed stream, a stream that cannot encode."""
        closed = StringIO()
        closed.close()
        for stream in (_FullDisk(), closed):
            LineObserver(stream, format_text)(event("x"))

    def test_every_line_is_out_at_once(self) -> None:
        """Not when a buffer is full: the last lines before a crash matter most."""
        flushed: list[str] = []

        class Stream(StringIO):
            def flush(self) -> None:
                flushed.append(self.getvalue())

        LineObserver(Stream(), lambda _: "line\n")(event())
        self.assertEqual(flushed, ["line\n"])
