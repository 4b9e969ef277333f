"""What the log says of connections."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.log import ConnectionLog
from wsaas.connections.messages import Close, ClosedBy, End, Handshake, Traffic

END = End(Close(4001, "bye"), ClosedBy.API)


class ConnectionLogTests(SynchronousTestCase):
    """Each line names the tag, and is limited if clients can cause it at will."""

    def setUp(self) -> None:
        """Keep what is logged."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.log = ConnectionLog()

    def test_lines(self) -> None:
        """As people read them."""
        self.log.refused("tag", 3, 400)
        self.log.unanswered("tag", 4, "no answer")
        self.log.retrying("tag", 5, "503")
        self.log.no_room("tag")
        handshake = Handshake(b"/chat?token=SECRET", b"", False, None, None, None, (), "", (), "")
        traffic = Traffic(0.0, 0.0, 3, 4, 50, 60)
        connection: Any = SimpleNamespace(identity=SimpleNamespace(tag="tag"), handshake=handshake, traffic=traffic)
        self.log.closed(connection, END, 2, 8.19999)
        self.assertEqual(
            [formatEvent(event) for event in self.events],
            [
                "tag the API refused message 3 with 400",
                "tag message 4: no answer",
                "tag message 5: 503; it is tried again",
                "tag no room for what waits for the API",
                "tag closed: 4001 by api: unix /chat, 8.2 s, 3 in, 4 out",
            ],
        )
        limited = [event.get("many") is not None for event in self.events]
        self.assertEqual(limited, [True, True, True, True, False])
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.warn] * 4 + [LogLevel.info])
        event = self.events[4]
        self.assertEqual((event["reason"], event["undelivered"]), ("bye", 2))
        self.assertEqual((event["bytes_in"], event["bytes_out"]), (50, 60))

    def test_faults(self) -> None:
        """Never limited, and with what happened."""
        self.log.fault("tag", Failure(RuntimeError()))
        self.log.fault("tag", Failure(RuntimeError()), " at the DELETE")
        self.assertEqual(
            [formatEvent(event) for event in self.events],
            ["tag a fault of the gateway", "tag a fault of the gateway at the DELETE"],
        )
        self.assertEqual([event.get("many") for event in self.events], [None, None])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
