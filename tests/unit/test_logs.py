"""The format of the log (``LOG_LEVEL``, ``LOG_FORMAT``)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.logger._flatten import flattenEvent  # what LogFileObserver's users call; not exported
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.messages import ClosedBy
from wsaas.logs import LeanLogger, LogSettings, format_json, format_text, make_observer

#: 2023-11-14T22:13:20.123Z
TIME = 1_700_000_000.123


def event(text: str = "{tag} opened", level: Any = LogLevel.info, **values: Any) -> LogEvent:
    """:returns: an event as twisted.logger makes it"""
    return {
        "log_time": TIME,
        "log_level": level,
        "log_namespace": "wsaas.websocket.upgrade",
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
        self.assertEqual(
            format_text(event(tag="abc")), "2023-11-14T22:13:20.123Z INFO  wsaas.websocket.upgrade abc opened\n"
        )

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


class SameAsTwistedTests(SynchronousTestCase):
    """Formatting is quicker than Twisted's and :mod:`datetime`'s, and no different."""

    @moderately
    @given(
        st.lists(
            st.sampled_from(
                ["{tag}", "{path}", "{nothing}", "{tag()}", "{tag.x}", "{path!r}", "{path:>5}", "{{", "}}", "{", "}"]
            )
            | st.text(max_size=5),
            max_size=4,
        ).map("".join),
        st.sampled_from([1, 2.5, True, None, "a{b}", "x", b"y", [1], lambda: 5, ClosedBy.API]),
    )
    def test_messages(self, text: str, value: Any) -> None:
        """Names, calls, attributes, and formats that are none."""
        made = event(text, tag=value, path="/a")
        expected = formatEvent(made)
        self.assertEqual(json.loads(format_json(made))["message"], expected)

    def test_messages_of_other_kinds(self) -> None:
        """Events that were flattened, bytes, no format at all, a value that cannot be formatted."""

        class Broken:
            def __format__(self, _: str) -> str:
                raise ZeroDivisionError

        flattened = event("{tag}", tag="a")
        flattenEvent(flattened)
        flattened["tag"] = "b"
        for made in (flattened, event("x") | {"log_format": b"{tag}"}, event("x") | {"log_format": None}):
            self.assertEqual(json.loads(format_json(made))["message"], formatEvent(made))
        self.assertIn("Unable to format", format_text(event("{tag}", tag=Broken())))

    @moderately
    @given(st.floats(0, 4e9) | st.integers(0, 10**9).map(lambda number: 1_700_000_000 + number / 1e9))
    def test_times(self, now: float) -> None:
        """Rounded as always."""
        expected = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.assertEqual(format_text(event("x") | {"log_time": now}).split()[0], expected)

    def test_time_at_the_end_of_a_second(self) -> None:
        """It is rounded to the next."""
        for now, shown in ((1.9999996, "00:00:02.000Z"), (1.9999994, "00:00:01.999Z"), (59.99999999, "00:01:00.000Z")):
            self.assertIn(shown, format_text(event("x") | {"log_time": now}))

    def test_loggers(self) -> None:
        """A lean one has the name that Twisted's would have, and tells the same."""
        events: list[Any] = []
        observer: Any = events.append

        class Source:
            lean = LeanLogger(observer=observer)
            usual = Logger(observer=observer)

        source = Source()
        source.lean.info("{a}", a=1)
        source.usual.info("{a}", a=1)
        Source.lean.warn("{a}", a=2)
        Source.usual.warn("{a}", a=2)
        kept = ("log_format", "log_level", "log_namespace", "a")
        told = [{name: event[name] for name in kept} for event in events]
        self.assertEqual(told[0::2], told[1::2])
        self.assertEqual(set(events[0]), set(events[1]))
        self.assertLess(abs(events[0]["log_time"] - events[1]["log_time"]), 10)
        self.assertIs(source.lean, Source.lean)


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
                "logger": "wsaas.websocket.upgrade",
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
        self.assertEqual((record["level"], record["logger"]), ("INFO", "wsaas.websocket.upgrade"))
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


class ObserverTests(SynchronousTestCase):
    """Where lines go, and which."""

    def lines(self, level: str, form: str = "text") -> tuple[StringIO, Logger]:
        """:returns: a stream, and a logger whose events end there"""
        stream = StringIO()
        observer = make_observer(LogSettings(level, form), stream.write)
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

    def test_what_twisted_tells_of_its_factories_is_left_out(self) -> None:
        """Its warnings are shown all the same."""
        for level, shown in (("INFO", ["warning"]), ("DEBUG", ["warning"])):
            stream = StringIO()
            observer = make_observer(LogSettings(level, "text"), stream.write)
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
        observer = make_observer(LogSettings("ERROR", "text"), stream.write)
        source = Logger(namespace="twisted.web.client", observer=observer)
        source.warn("warning")
        self.assertEqual(stream.getvalue(), "")

    def test_priorities(self) -> None:
        """Before every line, those of a traceback included; as text and as JSON."""
        for form in ("text", "json"):
            stream = StringIO()
            observer = make_observer(LogSettings("DEBUG", form, priorities=True), stream.write)
            source = Logger(namespace="x", observer=observer)
            for level in ("debug", "info", "warn", "error", "critical"):
                getattr(source, level)("hello")
            lines = stream.getvalue().splitlines()
            self.assertEqual([line[:3] for line in lines], ["<7>", "<6>", "<4>", "<3>", "<2>"])
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                source.failure("what happened")
            lines = stream.getvalue().splitlines()[5:]
            self.assertEqual({line[:3] for line in lines}, {"<2>"})
            self.assertEqual(len(lines) > 1, form == "text")
            self.assertTrue(stream.getvalue().endswith("\n"))

    def test_many_names(self) -> None:
        """What is remembered of them is bounded, and right."""
        stream, _ = self.lines("WARN")
        observer = make_observer(LogSettings("WARN", "text"), stream.write)
        for number in range(1500):
            source = Logger(namespace=f"wsaas.test{number}", observer=observer)
            source.info("i")
            source.warn("w")
        self.assertEqual(len(stream.getvalue().splitlines()), 1500)
        self.assertLessEqual(len(cast(Any, observer)._remembered), 1024)

    def test_events_without_level_or_name(self) -> None:
        """Are not shown."""
        stream = StringIO()
        observer = make_observer(LogSettings("DEBUG", "text"), stream.write)
        for missing in ("log_level", "log_namespace"):
            bare = event("x")
            del bare[missing]
            observer(bare)
        self.assertEqual(stream.getvalue(), "")
