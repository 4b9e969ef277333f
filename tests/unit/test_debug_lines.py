"""``LOG_LEVEL=DEBUG``: a line for each callback and each push."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectError
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import TEXT, Gate, frame, read_answer
from wsaas.connections.identity import tag_of

NOBODY = "n" * 24


class DebugTests(SynchronousTestCase):
    """What was asked, of whom or for whom, what came of it, how long it took, and how much it was; nothing else."""

    def setUp(self) -> None:
        """Keep what is logged at DEBUG."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def told(self) -> list[str]:
        """:returns: the lines at DEBUG since the last time"""
        told = [formatEvent(event) for event in self.events if event["log_level"] is LogLevel.debug]
        self.assertNotIn("SECRET", str(self.events))
        self.events.clear()
        return told

    def gate_at(self, level: str, **settings: str) -> Gate:
        """:returns: a gateway"""
        return Gate(None, LOG_LEVEL=level, **settings)

    def test_callbacks(self) -> None:
        """By method and number; a failure with its reason."""
        gate = self.gate_at("DEBUG", API_SECRET="S" * 32)
        wire = gate.open("/?SECRET", ("Authorization", "SECRET"))
        tag = tag_of(gate.key)
        size = len(gate.agent.last.body or b"")
        self.assertEqual(self.told(), [f"{tag} POST 0: 200 in 0.0 ms, {size} bytes out, 14 back"])
        wire.deliver(frame(TEXT, b"SECRET"))
        gate.clock.advance(0.25)
        gate.agent.last.answer(200, b"SECRET!")
        self.assertEqual(self.told(), [f"{tag} PUT 1: 200 in 250.0 ms, 6 bytes out, 7 back"])
        wire.deliver(frame(TEXT, b"SECRET"))
        gate.agent.last.fail(ConnectError())
        (line,) = self.told()
        self.assertRegex(line, f"^{tag} PUT 2: not_sent in 0.0 ms, 6 bytes out, 0 back: .")
        wire.end()
        gate.turn()
        gate.clock.advance(5)
        gate.agent.last.answer(204)
        gate.turn()
        gate.agent.last.answer(204)
        self.assertRegex("\n".join(self.told()), f"{tag} DELETE end: 204 in 0.0 ms, 0 bytes out, ")

    def test_traces(self) -> None:
        """The id of the trace, where a callback has one."""
        gate = self.gate_at("DEBUG", TRACE="on")
        wire = gate.open()
        wire.deliver(frame(TEXT, b"SECRET"))
        (parent,) = gate.agent.last.all("traceparent")
        gate.agent.last.answer(200)
        _, line = self.told()
        self.assertEqual(line, f"{tag_of(gate.key)} PUT 1: 200 in 0.0 ms, 6 bytes out, 14 back, trace {parent[3:35]}")

    def test_pushes(self) -> None:
        """By tag, whether there is such a connection or not; a refusal with its reason, and limited in its rate."""
        gate = self.gate_at("DEBUG", WS_MAX_MESSAGE="1024")
        gate.open()
        tag = tag_of(gate.key)
        self.told()
        gate.ask("PUT", f"/{gate.key}?SECRET", b"SECRET")
        self.assertEqual(self.told(), [f"{tag} pushed PUT: 200 in 0.0 ms, 6 bytes in, 15 back"])
        gate.ask("PUT", f"/{NOBODY}", b"SECRET")
        self.assertRegex(
            self.told()[0],
            f"^{tag_of(NOBODY)} pushed PUT: 404 in 0.0 ms, . bytes in, .* back: there is no such connection",
        )
        gate.ask("PUT", "/SECRET", b"SECRET")
        self.assertTrue(self.told()[0].startswith("- pushed PUT: 404 "))
        gate.ask("PUT", f"/{gate.key}", b"x" * 1025)
        self.assertEqual([event["many"] for event in self.events if "many" in event], ["refused pushes"])
        self.assertRegex(self.told()[0], f"^{tag} pushed PUT: 413 in ")

    def test_confirmed(self) -> None:
        """Once it is answered."""
        gate = self.gate_at("DEBUG")
        gate.open()
        self.told()
        wire = gate.connect(gate.push_site)
        wire.deliver(f"PUT /{gate.key} HTTP/1.1\r\nHost: h\r\nWs-Confirm: 2\r\nContent-Length: 1\r\n\r\nx".encode())
        self.assertEqual(self.told(), [])
        gate.clock.advance(2)
        self.assertEqual(read_answer(wire.take())[0].status, 202)
        self.assertRegex(self.told()[0], f"^{tag_of(gate.key)} pushed PUT: 202 in 2000.0 ms, 1 bytes in, ")

    def test_only_then(self) -> None:
        """At any other level, no such line is even made."""
        gate = self.gate_at("INFO")
        wire = gate.open()
        wire.deliver(frame(TEXT, b"hello"))
        gate.agent.last.answer()
        gate.ask("PUT", f"/{gate.key}", b"hello")
        gate.ask("PUT", f"/{NOBODY}", b"hello")
        self.assertEqual(self.told(), [])
