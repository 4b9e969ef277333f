"""The fast lane of handshakes: what it takes and what it leaves, and that nobody can tell which road one took."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.gate import (
    BINARY,
    PING,
    TEXT,
    WEBSOCKET_KEY,
    Gate,
    SecureWire,
    close_frame,
    frame,
    handshake_request,
    http_request,
    read_answer,
    read_answers,
)
from tests.properties import moderately
from tests.unit.net.http1 import test_channel, test_judged_request
from tests.unit.net.http1 import test_site as test_client_site
from tests.unit.net.http1.test_client_differential import EDITS, edited
from tests.unit.net.http1.test_parser import slices
from tests.unit.net.http1.test_push_lane import normalised
from tests.unit.websocket import test_upgrade
from wsaas.net.http1 import turns
from wsaas.net.http1.channel import Channel
from wsaas.net.http1.handshake_lane import MAX_EARLY, Arrival, HandshakeLane, read_head
from wsaas.net.http1.messages import RequestHead
from wsaas.net.http1.site import Lobby
from wsaas.net.http1.turns import REFUSED_PAUSE

HEAD_TIMEOUT = 30.0
USUAL = handshake_request("/chat?room=7")


# What holds of handshakes holds here


class GrantTests(test_upgrade.GrantTests):
    """The client gets its 101."""

    fast_lanes = "on"


class RefusalTests(test_upgrade.RefusalTests):
    """What the client gets otherwise, and what is owed."""

    fast_lanes = "on"


class LeavingTests(test_upgrade.LeavingTests):
    """The client leaves while the API thinks."""

    fast_lanes = "on"


class HandshakeTests(test_upgrade.HandshakeTests):
    """What is refused without asking the API."""

    fast_lanes = "on"


class DrainTests(test_upgrade.DrainTests):
    """Nobody new is let in when the process stops."""

    fast_lanes = "on"


class LogTests(test_upgrade.LogTests):
    """The log has the same in it."""

    fast_lanes = "on"


class MemoryTests(test_upgrade.MemoryTests):
    """What is over is freed at once."""

    fast_lanes = "on"


# What holds of channels holds of connections that begin here and become channels


class _Nobody:
    """Lets nobody in, for tests without handshakes."""

    def check(self, head: object) -> Any:
        raise AssertionError(f"{head} is a handshake")

    def attempt(self, visitor: object, handshake: object) -> Any:
        raise AssertionError(f"{visitor} is let in")


class _BeginsInTheLobby(test_channel.ChannelTestCase):
    def lobby(self) -> Lobby | None:
        return HandshakeLane(_Nobody(), self.clock, HEAD_TIMEOUT)


class ChannelCrowdTests(_BeginsInTheLobby, test_client_site.CrowdTests):
    """Bounds over all connections of a site."""

    def lobby(self) -> Lobby | None:
        return HandshakeLane(_Nobody(), self.clock, HEAD_TIMEOUT, 3)


class ChannelJudgementTests(_BeginsInTheLobby, test_channel.JudgementTests):
    """Heads are judged before bodies."""


class ChannelLingeringTests(_BeginsInTheLobby, test_channel.LingeringTests):
    """A refused peer sees why."""


class ChannelBodyTests(_BeginsInTheLobby, test_judged_request.BodyTests):
    """Bodies are bounded."""


class ChannelDeadlineTests(_BeginsInTheLobby, test_channel.DeadlineTests):
    """Heads have a deadline from the first moment on."""


class ChannelMalformedTests(_BeginsInTheLobby, test_channel.MalformedTests):
    """What cannot be read is refused."""


class ChannelPersistenceTests(_BeginsInTheLobby, test_channel.PersistenceTests):
    """Connections are kept."""


class ChannelDetachTests(_BeginsInTheLobby, test_channel.DetachTests):
    """Transports are given away."""


class ChannelLogTests(_BeginsInTheLobby, test_client_site.LogTests):
    """Nothing is logged."""


# What is taken and what is left


class HeadTests(SynchronousTestCase):
    """Which first bytes are a plain handshake."""

    def read(self, data: bytes, transport: Any = None) -> Any:
        """:returns: the head, or :data:`None`"""
        found = read_head(data, transport or StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 5)))
        if found is None:
            return None
        head, used = found
        self.assertEqual(used, data.index(b"\r\n\r\n") + 4)
        return head

    def assert_left(self, *headers: tuple[str, str], without: tuple[str, ...] = ()) -> None:
        """A handshake with these is twisted.web's."""
        self.assertIsNone(self.read(handshake_request("/", *headers, without=without)), headers)

    def test_plain(self) -> None:
        """It says what was sent."""
        head = self.read(handshake_request("/a?b=c%20d", ("X", " \ta b\t "), ("x", "2"), ("COOKIE", "")))
        self.assertEqual((head.method, head.target, head.path), (b"GET", b"/a?b=c%20d", b"/a"))
        self.assertEqual((head.version, head.length, head.secure, head.client), (b"HTTP/1.1", 0, False, "192.0.2.1"))
        self.assertEqual((head.all(b"X"), head.all(b"Cookie"), head.all(b"Y")), ([b"a b", b"2"], [b""], []))
        self.assertEqual(head.tokens(b"Upgrade"), [b"websocket"])
        self.assertTrue(self.read(USUAL, SecureWire(Gate().clock)).secure)

    def test_connection(self) -> None:
        """Kept ones only: how another ends is twisted.web's business."""
        connection = ("Connection",)
        for value in ("upgrade", "keep-alive, Upgrade", "Upgrade,keep-alive", "keep-alive"):
            self.assertIsNotNone(self.read(handshake_request("/", ("Connection", value), without=connection)), value)
        for value in ("Upgrade, close", "CLOSE", "close,Upgrade"):
            self.assert_left(("Connection", value), without=connection)
        self.assert_left(("Connection", "close"))

    def test_no_handshakes(self) -> None:
        """Requests of other kinds."""
        self.assert_left(without=("Upgrade",))
        self.assert_left(("Upgrade", "h2c"), without=("Upgrade",))
        self.assertIsNone(self.read(http_request("GET", "/")))
        self.assertIsNone(self.read(USUAL.replace(b"GET ", b"PUT ")))

    def test_fields_for_twisted_web(self) -> None:
        """Whatever their value."""
        for name in ("Content-Length", "content-length", "Transfer-Encoding", "Expect", "TE", "Trailer"):
            for value in ("0", "", "chunked"):
                self.assert_left((name, value))

    def test_request_lines(self) -> None:
        """The slightest deviation."""
        for line in (
            b"GET /chat?room=7 HTTP/1.0",
            b"GET /chat?room=7 HTTP/1.2",
            b"GET /chat?room=7 HTTP/2.0",
            b"GET /chat?room=7 http/1.1",
            b"get /chat?room=7 HTTP/1.1",
            b"GET  /chat?room=7 HTTP/1.1",
            b"GET /chat?room=7  HTTP/1.1",
            b"GET /chat?room=7 HTTP/1.1 ",
            b"GET /chat room HTTP/1.1",
            b"GET chat HTTP/1.1",
            b"GET http://h/chat HTTP/1.1",
            b"GET * HTTP/1.1",
            b"GET /\xe9 HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
            b"GET /\t HTTP/1.1",
            b" GET / HTTP/1.1",
            b"\r\nGET / HTTP/1.1",
            b"GET / HTTP/1.1\r",
            b"GET / HTTP/1.1\nA: b",
            b"GET /",
        ):
            self.assertIsNone(self.read(USUAL.replace(b"GET /chat?room=7 HTTP/1.1", line)), line)

    def test_lines(self) -> None:
        """Names are tokens, values ASCII without control characters, ends CR LF; nothing is folded."""
        for line in (
            b" folded",
            b"A: b\r\n c",
            b"no colon",
            b": no name",
            b"Host : a",
            b"A: \x00",
            b"A: \x7f",
            b"A: \xe9",
            b"A: b\rC: d",
            b"A: b\nTransfer-Encoding: chunked",
            b"\xc4: b",
        ):
            self.assertIsNone(self.read(USUAL[:-2] + line + b"\r\n\r\n"), line)
        for end in (b"\n", b"\r", b"\r\r\n", b"\n\n"):
            self.assertIsNone(self.read(USUAL.replace(b"\r\n", end, 1)), end)

    def test_incomplete(self) -> None:
        """Wherever it is cut."""
        for end in range(len(USUAL)):
            self.assertIsNone(self.read(USUAL[:end]), end)

    def test_bounds(self) -> None:
        """Long heads and many lines are counted by twisted.web."""
        self.assertIsNotNone(self.read(handshake_request("/", ("A", "a" * 7000))))
        self.assert_left(("A", "a" * 8192))
        self.assertIsNotNone(self.read(handshake_request("/", *[("a", "")] * 94)))
        self.assert_left(*[("a", "")] * 100)

    @moderately
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["Upgrade", "connection", "X", "x"]),
                st.text("ab, \tAupgradewebsocket", max_size=12),
            ),
            max_size=5,
        )
    )
    def test_read_as_twisted_web_reads(self, fields: list[tuple[str, str]]) -> None:
        """Values and elements of lists."""
        head = self.read(handshake_request("/", *fields))
        if head is not None:
            headers = Headers()
            for name, value in [("Upgrade", "websocket"), ("Connection", "Upgrade"), *fields]:
                headers.addRawHeader(name.encode(), value.strip(" \t").encode())
            other = RequestHead(b"GET", b"/", b"HTTP/1.1", headers, 0, False, None)
            for field in (b"Upgrade", b"Connection", b"X", b"Y"):
                self.assertEqual(head.all(field), other.all(field))
                self.assertEqual(head.tokens(field), other.tokens(field))


class ArrivalTestCase(SynchronousTestCase):
    """A gate with the lane."""

    def setUp(self) -> None:
        """Make it."""
        self.gate = Gate(FAST_LANES="on")

    def timers(self) -> int:
        """:returns: how many wait"""
        return len(self.gate.clock.getDelayedCalls())


class ArrivalTests(ArrivalTestCase):
    """What becomes of a connection."""

    def test_by_the_lane(self) -> None:
        """No channel is ever made for a plain handshake."""
        self.patch(self.gate.site, "new_channel", lambda _: self.fail("a channel"))
        wire = self.gate.begin()
        self.assertIsInstance(wire.protocol, Arrival)
        self.gate.agent.last.answer()
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))
        self.assertNotIsInstance(wire.protocol, Arrival)

    def test_anything_else_becomes_a_channel(self) -> None:
        """With its first bytes, and for good."""
        wire = self.gate.connect()
        self.assertIsInstance(wire.protocol, Arrival)
        wire.deliver(USUAL[:10])
        self.assertIsInstance(wire.protocol, Channel)
        wire.deliver(USUAL[10:])
        self.gate.agent.last.answer()
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))

    def test_refusals_by_the_channel(self) -> None:
        """What the API is not asked about is told, and logged, by one of the roads only."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        wire = self.gate.connect()
        wire.deliver(handshake_request("/", without=("Host",)))
        self.assertIn(b"Date:", wire.take())
        self.assertEqual(len(events), 1)

    def test_refused_by_the_api(self) -> None:
        """The connection is a channel then, without a deadline until a request begins."""
        wire = self.gate.begin()
        self.gate.agent.last.answer(403)
        (answer,) = read_answers(wire.take())
        self.assertEqual((answer.status, answer.header("Connection")), (403, None))
        self.gate.clock.advance(HEAD_TIMEOUT + 1)
        wire.deliver(http_request("GET", "/"))
        self.assertEqual(read_answers(wire.take())[0].status, 426)
        self.gate.clock.advance(59)
        self.assertFalse(wire.disconnecting)
        self.gate.clock.advance(1)
        self.assertTrue(wire.disconnecting)

    def test_what_came_behind_a_refused_handshake(self) -> None:
        """Is the next request, or the beginning of one, which has its own time."""
        wire = self.gate.connect()
        wire.deliver(USUAL + http_request("GET", "/") + USUAL[:-1])
        self.gate.agent.last.answer(403)
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, 426])
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(1)
        self.assertEqual(read_answers(wire.take())[0].status, 408)

    def test_early_bytes_are_bounded(self) -> None:
        """A client that sends much while the API thinks is not read any more; then it is, whatever the answer."""
        message = frame(BINARY, bytes(4000))
        for status in (200, 403):
            wire = self.gate.connect()
            wire.deliver(USUAL + message)
            for _ in range(10):
                wire.deliver(message)
            self.assertEqual(wire.producerState, "paused")
            self.assertLessEqual(len(wire._inbox) * len(message), 11 * len(message) - MAX_EARLY)
            self.assertGreater(len(wire._inbox), 5)
            self.gate.agent.calls[-1].answer(status)
            self.gate.turn()
            self.assertEqual(wire.producerState, "producing")
            if status == 200:
                for _ in range(11):
                    self.assertEqual(self.gate.agent.last.body, bytes(4000))
                    self.gate.agent.last.answer(200, b"")
            else:
                self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, 414])

    def test_many_requests_behind_a_refused_handshake(self) -> None:
        """All are answered, those too that were not read before."""
        wire = self.gate.connect()
        wire.deliver(USUAL)
        for _ in range(10):
            wire.deliver(http_request("GET", "/", None, ("A", "a" * 4000)))
        self.assertEqual(wire.producerState, "paused")
        self.gate.agent.last.answer(403)
        for _ in range(10):
            self.gate.clock.advance(REFUSED_PAUSE)
        self.gate.turn()
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, *[426] * 10])

    def test_inside_a_wrapper(self) -> None:
        """As with TLS and PROXY: the wrapper stays, what is inside of it changes."""
        factory = WrappingFactory(self.gate.site)
        factory.noisy = False
        for segments, kind in (([USUAL], None), ([USUAL[:5], USUAL[5:]], Channel), ([b"x"], Channel)):
            wire = self.gate.connect(factory)
            wrapper = wire.protocol
            for segment in segments:
                wire.deliver(segment)
            self.assertIs(wire.protocol, wrapper)
            assert isinstance(wrapper, ProtocolWrapper)
            self.assertIsInstance(wrapper.wrappedProtocol, kind or Arrival)
            if segments != [b"x"]:
                self.gate.agent.last.answer()
                self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))
                wire.deliver(close_frame(1000))
                self.gate.turn()
                self.assertTrue(wire.over)
            else:
                wire.end()

    def test_answered_at_once(self) -> None:
        """Before the bytes have left the method that received them."""
        self.gate.agent.react = lambda call: call.answer(200 if len(self.gate.agent.calls) > 1 else 403)
        wire = self.gate.connect()
        wire.deliver(USUAL + USUAL + frame(TEXT, b"a"))
        answers = wire.take()
        refused, rest = read_answer(answers)
        self.assertEqual((refused.status, read_answer(rest)[0].status), (403, 101))
        self.assertEqual(self.gate.agent.last.body, b"a")

    def test_without_a_deadline(self) -> None:
        """A listener that has none begins with channels, whose idle time-out ends what is silent."""
        gate = Gate(FAST_LANES="on", WS_TIMEOUT="0")
        self.assertIsInstance(gate.connect().protocol, Channel)


class KeptTests(ArrivalTestCase):
    """Connections that are kept, although nobody knows what for."""

    def test_refused(self) -> None:
        """It is one of those that may be cut off when there are too many, until it asks again."""
        wire = self.gate.begin()
        self.assertEqual(len(self.gate.site.idle), 0)
        self.gate.agent.last.answer(403)
        self.assertEqual(len(self.gate.site.idle), 1)
        wire.deliver(handshake_request())
        self.assertEqual(len(self.gate.site.idle), 0)
        self.gate.agent.last.answer()
        wire.end()
        self.assertEqual(len(self.gate.site.idle), 0)


class DeadlineTests(ArrivalTestCase):
    """One timer for all that were not heard of."""

    def test_408(self) -> None:
        """Each at its own time."""
        first = self.gate.connect()
        self.gate.clock.advance(10)
        second, third = self.gate.connect(), self.gate.connect()
        self.assertEqual(self.timers(), 1)
        self.gate.clock.advance(HEAD_TIMEOUT - 10)
        self.assertEqual(read_answers(first.take())[0].status, 408)
        self.assertEqual((second.take(), third.take()), (b"", b""))
        self.gate.clock.advance(9)
        self.assertEqual((second.take(), third.take()), (b"", b""))
        self.gate.clock.advance(1)
        for wire in (second, third):
            self.assertEqual(read_answers(wire.take())[0].status, 408)
        self.gate.clock.pump([2, 1, 1])
        self.assertTrue(first.over and second.over and third.over)
        self.assertEqual(self.timers(), 0)

    def test_the_channel_has_what_is_left(self) -> None:
        """However slowly the head trickles."""
        wire = self.gate.connect()
        self.gate.clock.advance(HEAD_TIMEOUT - 2)
        wire.deliver(USUAL[:10])
        self.gate.clock.advance(1)
        wire.deliver(USUAL[10:20])
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(1)
        self.assertEqual(read_answers(wire.take())[0].status, 408)

    def test_the_eldest_makes_room(self) -> None:
        """Beyond the bound, whoever came first and has said nothing goes."""
        self.gate = Gate(None, FAST_LANES="on")
        lane = HandshakeLane(self.gate.upgrade, self.gate.clock, HEAD_TIMEOUT, 2)
        vars(self.gate.site)["_lobby"] = lane
        wires = [self.gate.connect() for _ in range(3)]
        self.gate.turn()
        self.assertEqual([wire.aborted for wire in wires], [True, False, False])
        self.assertEqual((len(lane), self.gate.site.awaited), (2, 2))
        wires[1].deliver(USUAL)
        self.gate.connect()
        self.gate.turn()
        self.assertFalse(wires[1].aborted or wires[2].aborted)

    def test_none_is_left(self) -> None:
        """Not when it is a handshake, or over, or another protocol's."""
        for data in (USUAL, b"", b"PUT", http_request("GET", "/")):
            wire = self.gate.connect()
            if data:
                wire.deliver(data)
            wire.end()
            if data == USUAL:
                self.gate.agent.last.answer(403)
            self.assertEqual(self.timers(), 0, data)

    def test_one_that_ends_another(self) -> None:
        """While the late ones are told, one of them goes away by itself."""
        first, second = self.gate.connect(), self.gate.connect()
        write = first.write

        def end_the_other(data: bytes) -> None:
            write(data)
            second.end()

        first.write = end_the_other  # type: ignore[method-assign]  # two clients that know each other
        self.gate.clock.advance(HEAD_TIMEOUT)
        self.assertEqual(read_answers(first.take())[0].status, 408)
        self.assertEqual(second.take(), b"")

    def test_freed(self) -> None:
        """With the collector off, wherever it was."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for data in (b"", USUAL, USUAL + b"abc", USUAL[:5], http_request("GET", "/")):
            for answer in (200, 403):
                wire = self.gate.connect()
                arrival = weakref.ref(wire.protocol)
                if data:
                    wire.deliver(data)
                if data.startswith(USUAL):
                    self.gate.agent.calls.pop().answer(answer)
                    self.assertIsNone(arrival())
                wire.end()
                self.gate.agent.calls.clear()
                self.assertIsNone(arrival())


# Both roads, side by side

TARGETS = st.sampled_from(["/", "/chat", "/chat?token=a%20b", "/a/b//c", '/"#?', "/" + "a" * 2047, "/" + "a" * 2048])
FIELDS = st.sampled_from(
    [("Origin", "https://good.test"), ("Origin", "https://evil.test"), ("User-Agent", "a"), ("user-agent", "b"),
     ("Authorization", "Bearer a"), ("Cookie", "a=b; c"), ("Sec-WebSocket-Protocol", "a, b"), ("Pragma", "no-cache"),
     ("sec-websocket-protocol", "c"), ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
     ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=99"), ("Connection", "keep-alive"),
     ("X-Forwarded-For", "192.0.2.7"), ("Ws-Uri", "http://evil.test"), ("Accept", "")]
)  # fmt: skip
ODD_FIELDS = st.sampled_from(
    [("Content-Length", "0"), ("Content-Length", "3"), ("Transfer-Encoding", "chunked"), ("Expect", "100-continue"),
     ("Connection", "close"), ("Connection", ""), ("Upgrade", "h2c"), ("Upgrade", ""), ("Host", "b"), ("TE", "a"),
     ("Sec-WebSocket-Key", WEBSOCKET_KEY), ("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Protocol", "a a"),
     ("Authorization", "a" * 6144), ("A", "a" * 9000), ("A", "a" * 17000), ("A", "\xe9"), ("A", "b\r\n c"),
     ("A b", "c"), ("Origin", "\xfc"), ("A", "b\nC: d"), ("Content-Type", "multipart/form-data"), ("Cookie", "=;=")]
)  # fmt: skip
LEFT_OUT = st.one_of(
    st.just(()),
    st.just(()),
    st.tuples(st.sampled_from(["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])),
)


def handshake(target: str, fields: list[tuple[str, str]], without: tuple[str, ...]) -> bytes:
    """:returns: something like a handshake"""
    return handshake_request(target, *fields, without=without)


PLAIN = st.builds(handshake, TARGETS, st.lists(FIELDS, max_size=4), st.just(()))
ODD = st.builds(handshake, TARGETS, st.lists(st.one_of(FIELDS, ODD_FIELDS), max_size=4), LEFT_OUT)
BEHIND = st.lists(
    st.one_of(
        st.sampled_from(
            [frame(TEXT, b"one"), frame(BINARY, b"two"), frame(PING, b"p"), close_frame(1000), close_frame(4000, "x"),
             close_frame(999), frame(TEXT, b"\xff"), http_request("GET", "/"), USUAL, b"\r\n",
             frame(BINARY, bytes(9000))]
        ),
        st.binary(max_size=12),
    ),
    max_size=3,
).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 1 << 16), max_size=4)
EVENTS = st.lists(
    st.sampled_from(
        ["", "", "grant", "grant", "grant", "protocol", "forbid", "another code", "fault", "lost", "unreachable",
         "push", "leave", "drain", "a second", "many seconds", "a minute", "stall", "flow"]
    ),
    max_size=8,
)  # fmt: skip


class Side:
    """A gateway and one client.

    :param fast_lanes: whether it has the lane
    """

    def __init__(self, fast_lanes: str) -> None:
        self.gate = Gate(
            FAST_LANES=fast_lanes, WS_COMPRESSION="on", WS_ORIGINS="https://good.test", WS_MAX_MESSAGE="10000"
        )
        self.wire = self.gate.connect()
        self.events: list[Any] = []
        advance = self.gate.clock.advance
        self._events: dict[str, Callable[[], object]] = {
            "": lambda: None,
            "grant": self._answer(200, b'{"code": "OK"}'),
            "protocol": self._answer(200, b'{"code": "OK"}', ("Sec-WebSocket-Protocol", "b"), ("Ws-Close", "4000 a")),
            "forbid": self._answer(401, b"", ("WWW-Authenticate", "Basic")),
            "another code": self._answer(200, b'{"code": "NO"}'),
            "fault": self._answer(500, b""),
            "lost": lambda: self._fail(ConnectionLost()),
            "unreachable": lambda: self._fail(ConnectError()),
            "push": self._push,
            "leave": self.wire.end,
            "drain": self._drain,
            "a second": lambda: advance(1),
            "many seconds": lambda: advance(HEAD_TIMEOUT - 1),
            "a minute": lambda: self.gate.clock.pump([20, 10, 20, 10]),
            "stall": self.wire.stall,
            "flow": self.wire.flow,
        }

    def _waiting(self) -> Any:
        return next((call for call in self.gate.agent.calls if not call.result.called), None)

    def _answer(self, *answer: Any) -> Callable[[], object]:
        def give() -> None:
            call = self._waiting()
            if call is not None:
                call.answer(*answer)

        return give

    def _fail(self, error: Exception) -> None:
        call = self._waiting()
        if call is not None:
            call.fail(error)

    def _push(self) -> None:
        self.pushed = self.gate.ask("PUT", f"/{self.gate.key}", b"pushed").status

    pushed = 0

    def _drain(self) -> None:
        self.gate.upgrade.draining = True
        for connection in self.gate.registry:
            connection.shut_down()

    def step(self, data: bytes, event: str) -> object:
        """:returns: all that can be seen from outside after some bytes and an event"""
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        try:
            if data and not self.wire.over:
                self.wire.deliver(data)
            self.gate.turn()
            self._events[event]()
            self.gate.turn()
        finally:
            globalLogPublisher.removeObserver(observer)
        wire, events = self.wire, self.events
        self.events = []
        return (
            normalised(wire.take()),
            (wire.half_closed, wire.disconnecting, wire.aborted, wire.over, wire.producerState, len(wire._inbox)),
            [(call.method, sorted(call.headers.getAllRawHeaders()), call.body) for call in self.gate.agent.calls],
            [(event["log_namespace"], event["log_level"], formatEvent(event)) for event in events],
            (len(self.gate.registry), self.gate.slots.held, self.pushed),
        )

    def end(self) -> None:
        """Leave nothing behind that waits."""
        self.wire.end()
        while (call := self._waiting()) is not None:
            call.answer(200, b"")


class DifferentialTests(SynchronousTestCase):
    """A gateway with the lane and one without, side by side: step by step nobody sees a difference.

    Not the client, but for Date and Server and the order of header lines; nor the API, nor a pusher, nor the log.
    """

    def setUp(self) -> None:
        """Have what waits behind refusals wait for the next turn only: on tenths of a second the roads may differ."""
        self.patch(turns, "REFUSED_PAUSE", 0)

    def check_equal(self, stream: bytes, cuts: Sequence[int], events: Sequence[str]) -> None:
        """Let both go through the same."""
        fast, plain = Side("on"), Side("off")
        for data, event in zip_longest(slices(stream, cuts), events):
            self.assertEqual(fast.step(data or b"", event or ""), plain.step(data or b"", event or ""), (data, event))
        for event in ("grant", "grant", "many seconds", "a second", "a second", "a second", "a minute"):
            self.assertEqual(fast.step(b"", event), plain.step(b"", event), event)
        fast.end()
        plain.end()

    @moderately
    @given(PLAIN, BEHIND, CUTS, EVENTS)
    def test_plain(self, first: bytes, behind: bytes, cuts: list[int], events: list[str]) -> None:
        """Plain handshakes, what follows them, and whatever happens meanwhile."""
        self.check_equal(first + behind, cuts, events)

    @moderately
    @given(PLAIN, BEHIND, EVENTS)
    def test_whole(self, first: bytes, behind: bytes, events: list[str]) -> None:
        """The same in two segments, so that the lane takes it."""
        self.check_equal(first + behind, [len(first)], events)

    @moderately
    @given(ODD, BEHIND, CUTS, EVENTS)
    def test_odd(self, first: bytes, behind: bytes, cuts: list[int], events: list[str]) -> None:
        """Odd fields, and those that are missing."""
        self.check_equal(first + behind, cuts, events)

    @moderately
    @given(PLAIN, BEHIND, EDITS, CUTS)
    def test_edited(self, first: bytes, behind: bytes, edits: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
        """Handshakes with a byte or two that are wrong."""
        self.check_equal(edited(first, edits) + behind, cuts, ())

    def test_each_odd_field(self) -> None:
        """One by one."""
        for field in ODD_FIELDS.elements:  # type: ignore[attr-defined]  # SampledFromStrategy has them
            self.check_equal(handshake_request("/", field) + frame(TEXT, b"a"), (), ("grant",))

    def test_lanes_are_there_and_not_there(self) -> None:
        """What is compared are two roads indeed."""
        for lanes, kind in (("on", Arrival), ("off", Channel)):
            side = Side(lanes)
            self.assertIsInstance(side.wire.protocol, kind)
            side.end()
