"""The client's side: frames in, frames out (RFC 6455), the end."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    ApiCall,
    Frame,
    Gate,
    Wire,
    close_frame,
    close_payload,
    deflate,
    frame,
    handshake_request,
    http_request,
    read_frames,
)
from tests.properties import moderately
from wsaas.connections.close_timeout import CLOSE_TIMEOUT
from wsaas.connections.connection import Connection
from wsaas.connections.messages import Message
from wsaas.websocket.protocol import (
    FREE_CONTROLS,
    FREE_FRAGMENTS,
    FREE_LATE,
    LATE_AT_ONCE,
    LATE_PAUSE,
    MAX_SAVED,
    MEAN_FRAGMENT,
)


class WebSocketTestCase(SynchronousTestCase):
    """One open WebSocket."""

    settings: dict[str, str] = {"WS_MAX_MESSAGE": "1000", "WS_MAX_BUFFER": "2000"}
    offers: tuple[tuple[str, str], ...] = ()

    def setUp(self) -> None:
        """Open it."""
        self.gate = Gate(None, **self.settings)
        self.wire = self.gate.open("/", *self.offers)

    def frames(self, wire: Wire | None = None) -> list[Frame]:
        """:returns: what the client got"""
        return read_frames((wire or self.wire).take())

    @property
    def calls(self) -> list[ApiCall]:
        """All callbacks but the POST."""
        return self.gate.agent.calls[1:]

    @property
    def puts(self) -> list[tuple[str, bytes | None]]:
        """Type and body of all PUTs."""
        return [
            ("text" if (call.header("Content-Type") or "").startswith("text/") else "binary", call.body)
            for call in self.gate.agent.calls
            if call.method == "PUT"
        ]

    def always(self, *headers: tuple[str, str]) -> None:
        """Let the API answer at once from now on."""
        self.gate.agent.react = lambda call: call.answer(
            200, b'{"code": "OK"}' if call.method == "POST" else b"", *headers
        )

    def assert_closed(
        self, code: int | None, by: str, *, told: int | None = None, answered: bool = True, in_time: bool = True
    ) -> None:
        """The client gets this Close, and the API this DELETE.

        :param code: of the Close frame that the client got; :data:`None`: without one
        :param told: the code that the API is told, if another
        :param answered: whether the client answers the Close frame
        :param in_time: whether that ends the connection at once, and not the time limit
        """
        (last,) = self.frames()
        self.assertEqual(last.opcode, CLOSE)
        self.assertEqual(last.payload[:2], b"" if code is None else close_payload(code))
        if answered:
            self.wire.deliver(frame(CLOSE, last.payload[:2]))
        self.gate.turn()
        self.assertEqual(self.wire.over, in_time)
        self.gate.clock.advance(CLOSE_TIMEOUT)
        self.gate.turn()
        self.assertTrue(self.wire.over)
        delete = self.gate.agent.last
        self.assertEqual(delete.method, "DELETE")
        self.assertEqual(delete.header("Ws-Closed-By"), by)
        self.assertEqual(delete.header("Ws-Close-Code"), str(told or code))


class MessageTests(WebSocketTestCase):
    """Messages, from the client and to it."""

    def test_text_and_binary(self) -> None:
        """Byte for byte, the kind told by its type."""
        self.always()
        self.wire.deliver(frame(TEXT, "grüß dich".encode()) + frame(BINARY, b"\x00\xff") + frame(TEXT))
        self.assertEqual(self.puts, [("text", "grüß dich".encode()), ("binary", b"\x00\xff"), ("text", b"")])

    def test_fragments(self) -> None:
        """One message, with control frames between its parts, a character cut in two."""
        self.always()
        self.wire.deliver(
            frame(TEXT, b"gr\xc3", fin=False) + frame(PING, b"!") + frame(CONTINUATION, b"\xbc", fin=False)
        )
        self.assertEqual(self.puts, [])
        self.assertEqual(self.frames(), [Frame(PONG, b"!")])
        self.wire.deliver(frame(CONTINUATION, b"n") + frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"\xc3"))
        self.assertEqual(self.puts, [("text", "grün".encode()), ("binary", b"\xc3")])

    def test_empty_fragments_are_not_kept(self) -> None:
        """Any number of them is within every limit on sizes, so they must not take memory."""
        self.always()
        empty = frame(CONTINUATION, b"", fin=False)
        self.wire.deliver(frame(BINARY, b"a", fin=False) + empty * (FREE_FRAGMENTS - 2))
        self.assertEqual(self.wire.protocol.message_data, [b"a"])
        self.wire.deliver(frame(CONTINUATION, b"b"))
        self.assertEqual(self.puts, [("binary", b"ab")])

    def test_longest_message(self) -> None:
        """The limit is inclusive, and counts messages, not frames."""
        self.always()
        self.wire.deliver(frame(BINARY, b"a" * 1000))
        self.wire.deliver(frame(BINARY, b"a" * 400, fin=False) + frame(CONTINUATION, b"a" * 600))
        self.assertEqual([len(body or b"") for _, body in self.puts], [1000, 1000])

    @moderately
    @given(
        st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=6),
        st.integers(1, 50),
    )
    def test_any_slices(self, messages: list[tuple[bool, bytes]], size: int) -> None:
        """Where segments end makes no difference."""
        self.setUp()
        self.always()
        stream = b"".join(frame(BINARY, payload, mask=payload[:4].ljust(4, b"\1")) for _, payload in messages)
        for begin in range(0, len(stream), size):
            self.wire.deliver(stream[begin : begin + size])
        self.assertEqual(self.puts, [("binary", payload) for _, payload in messages])
        self.wire.end()

    def test_replies(self) -> None:
        """Ws-Reply goes to the client as what it says."""
        self.wire.deliver(frame(BINARY, b"\xff") + frame(TEXT, b"a"))
        self.gate.agent.last.answer(200, "grün".encode(), ("Ws-Reply", "text"))
        self.gate.agent.last.answer(200, b"\xfe", ("Ws-Reply", "binary"))
        self.assertEqual(self.frames(), [Frame(TEXT, "grün".encode()), Frame(BINARY, b"\xfe")])

    def test_long_frames(self) -> None:
        """All three forms of length (RFC 6455 §5.2), neither masked nor fragmented."""
        self.gate = Gate()
        self.wire = self.gate.open()
        for length in (0, 125, 126, 65535, 65536, 131072):
            self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"a" * length).status, 200)
            self.assertEqual(self.frames(), [Frame(TEXT, b"a" * length)])


class FloodTests(WebSocketTestCase):
    """Frames that are worth nothing and cost time: pings, pongs, and whatever comes after our Close."""

    def test_pings(self) -> None:
        """So many a second get their pongs; with one more, the client is not read any more: close 1008."""
        self.wire.deliver(frame(PING, b"!") * FREE_CONTROLS)
        self.assertEqual(self.frames(), [Frame(PONG, b"!")] * FREE_CONTROLS)
        self.wire.deliver(frame(PING, b"!") * 1000)
        self.assertEqual(self.wire.producerState, "paused")
        self.assert_closed(1008, "protocol", answered=False, in_time=False)

    def test_pongs(self) -> None:
        """Unsolicited pongs count like pings."""
        self.wire.deliver(frame(PONG) * FREE_CONTROLS)
        self.assertEqual(self.frames(), [])
        self.wire.deliver(frame(PONG, b"!") * 2)
        self.assert_closed(1008, "protocol", answered=False, in_time=False)

    def test_each_second_anew(self) -> None:
        """A client that pings often, but not so often, stays for ever."""
        for _ in range(5):
            self.wire.deliver(frame(PING) * FREE_CONTROLS)
            self.assertEqual(len(self.frames()), FREE_CONTROLS)
            self.gate.clock.advance(1)

    def test_pongs_that_were_asked_for(self) -> None:
        """A client pushed to with ``Ws-Confirm`` sends as many pongs as there were pushes, late ones too."""
        payloads = []
        for _ in range(3 * FREE_CONTROLS):
            pusher = self.gate.connect(self.gate.push_site)
            pusher.deliver(http_request("PUT", f"/{self.gate.key}", b"hello", ("Ws-Confirm", "1")))
            payloads += [each.payload for each in self.frames() if each.opcode == PING]
            self.gate.clock.advance(0.002)
        self.assertEqual(len(payloads), 3 * FREE_CONTROLS)
        self.wire.deliver(b"".join(frame(PONG, payload) for payload in payloads))
        self.wire.deliver(frame(PONG) * FREE_CONTROLS)
        self.assertEqual(self.wire.producerState, "producing")
        self.wire.deliver(frame(PONG) * 2)
        self.assert_closed(1008, "protocol", answered=False, in_time=False)

    def test_pings_saved_up_while_not_read(self) -> None:
        """While the API is slow, the client is not read, and its pings pile up: that is no flood."""
        self.wire.deliver(frame(BINARY, b"x" * 900) * 4)
        self.assertEqual(self.wire.producerState, "paused")
        self.wire.deliver(frame(PING) * (2 * FREE_CONTROLS))
        self.gate.clock.advance(20)
        self.always()
        self.gate.agent.last.answer(200)
        self.gate.turn()
        self.assertEqual([each.opcode for each in self.frames() if each.opcode != PING], [PONG] * 2 * FREE_CONTROLS)
        self.assertEqual(len(self.puts), 4)
        self.wire.deliver(frame(PING) * 1000)
        self.assertEqual(self.frames()[-1].opcode, CLOSE)

    def test_not_reading_saves_only_so_many(self) -> None:
        """A client that causes a pause may not send a flood after it."""
        self.wire.deliver(frame(BINARY, b"x" * 900) * 4)
        self.wire.deliver(frame(PING) * (MAX_SAVED + FREE_CONTROLS + 1))
        self.gate.clock.advance(25)
        self.always()
        self.gate.agent.last.answer(200)
        self.gate.turn()
        self.assertEqual(self.frames()[-1].payload[:2], close_payload(1008))

    def test_messages_after_our_close(self) -> None:
        """Some were on their way. A client that sends many is read slowly, until the close timeout."""
        self.gate.ask("DELETE", f"/{self.gate.key}?code=4000")
        self.assertEqual([each.opcode for each in self.frames()], [CLOSE])
        self.wire.deliver(frame(BINARY, b"") * (FREE_LATE - 1))
        self.assertEqual(self.wire.producerState, "producing")
        self.wire.deliver(frame(BINARY, b"") * 10_000)
        for _ in range(10):
            self.assertEqual(self.wire.producerState, "paused")
            before = len(self.wire.protocol.data)
            self.gate.clock.advance(LATE_PAUSE)
            self.assertEqual(before - len(self.wire.protocol.data), LATE_AT_ONCE * len(frame(BINARY, b"")))
        self.gate.clock.advance(CLOSE_TIMEOUT)
        self.gate.turn()
        self.assertTrue(self.wire.over)
        self.assertEqual(self.puts, [])
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "4000")
        self.gate.agent.last.answer(200)
        self.assertEqual(self.gate.clock.getDelayedCalls(), [])

    def test_the_answer_to_our_close_behind_messages(self) -> None:
        """It ends the connection at once, or as soon as it is read."""
        for late in (FREE_LATE - 1, FREE_LATE + 2 * LATE_AT_ONCE):
            wire = self.gate.open()
            self.gate.ask("DELETE", f"/{self.gate.key}?code=4000")
            wire.deliver(frame(BINARY, b"") * late + frame(CLOSE, close_payload(4000)))
            for _ in range(3 * (late > FREE_LATE)):
                self.assertFalse(wire.over)
                self.gate.clock.advance(LATE_PAUSE)
            self.gate.turn()
            self.assertTrue(wire.over)


class FragmentTests(WebSocketTestCase):
    """Messages in parts: how many parts, and how much of them is kept."""

    def test_tiny_fragments(self) -> None:
        """A message in frames of a byte each costs a hundred times what it would cost in one: close 1008."""
        self.wire.deliver(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"a", fin=False) * (FREE_FRAGMENTS - 1))
        self.assertEqual(self.frames(), [])
        self.wire.deliver(frame(CONTINUATION, b"a", fin=False) * 2)
        # Nor is it read any more, so that what follows costs nothing; it is cut off in time.
        self.assertEqual(self.wire.producerState, "paused")
        self.assert_closed(1008, "protocol", answered=False, in_time=False)
        self.assertEqual(self.puts, [])

    def test_tiny_fragments_while_a_message_is_delivered(self) -> None:
        """The message before gets its answer; the API is told of none that was not whole."""
        self.wire.deliver(frame(TEXT, b"1"))
        self.wire.deliver(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * FREE_FRAGMENTS)
        self.assertEqual(self.frames(), [])
        self.gate.agent.last.answer(200)
        self.assert_closed(1008, "protocol", answered=False, in_time=False)
        self.assertEqual(self.puts, [("text", b"1")])
        self.assertIsNone(self.gate.agent.last.header("Ws-Undelivered"))

    def test_many_fragments_of_some_size(self) -> None:
        """As many as there may be bytes; and each message is counted by itself."""
        part = b"a" * MEAN_FRAGMENT
        count = FREE_FRAGMENTS + 1
        self.gate = Gate(None, **self.settings | {"WS_MAX_MESSAGE": "10000", "WS_MAX_BUFFER": "20000"})
        self.wire = self.gate.open()
        self.always()
        for _ in range(2):
            self.wire.deliver(frame(BINARY, part, fin=False) + frame(CONTINUATION, part, fin=False) * (count - 2))
            self.wire.deliver(frame(CONTINUATION, part))
            self.wire.deliver((frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"")) * FREE_FRAGMENTS)
        self.assertEqual([len(body or b"") for _, body in self.puts if body], [len(part) * count] * 2)

    def test_joined(self) -> None:
        """Each part would take 33 bytes besides its own."""
        self.gate = Gate(None, WS_MAX_MESSAGE="200000", WS_MAX_BUFFER="400000")
        self.wire = self.gate.open()
        self.wire.deliver(frame(BINARY, b"", fin=False))
        parts = [b"%017d" % number for number in range(10000)]
        for part in parts:
            self.wire.deliver(frame(CONTINUATION, part, fin=False))
        self.assertLess(len(self.wire.protocol.message_data), 1100)
        self.wire.deliver(frame(CONTINUATION))
        self.assertEqual(self.puts, [("binary", b"".join(parts))])

    def test_slices_are_joined(self) -> None:
        """A frame that trickles in is no better than one fragment for each slice."""
        self.gate = Gate(None, WS_MAX_MESSAGE="200000", WS_MAX_BUFFER="400000")
        self.wire = self.gate.open()
        message = b"%010000d" % 7
        data = frame(BINARY, message)
        for begin in range(0, len(data) - 2, 2):
            self.wire.deliver(data[begin : begin + 2])
        self.assertLess(len(self.wire.protocol.frame_data), 1100)
        self.wire.deliver(data[-2:])
        self.assertEqual(self.puts, [("binary", message)])

    def test_parts_count_for_all(self) -> None:
        """Until the message is complete, which then waits for the API; or until the client is gone."""
        parts = self.gate.budgets.partial
        self.wire.deliver(frame(TEXT, b"x" * 600, fin=False))
        self.assertEqual(parts.used, 600)
        self.wire.deliver(frame(CONTINUATION, b"x" * 300)[:-100])
        self.assertEqual(parts.used, 800)
        other = self.gate.open()
        other.deliver(frame(TEXT, b"x" * 500)[:-1])
        self.assertEqual(parts.used, 1299)
        other.end()
        self.wire.deliver(frame(CONTINUATION, b"x" * 300)[-100:])
        self.assertEqual((parts.used, len(self.puts)), (0, 1))

    def test_too_many_parts_in_all(self) -> None:
        """The client whose message began first is closed with 1008, as an honest client is done before."""
        self.gate.budgets.partial.limit = 2500
        self.gate.agent.react = lambda call: call.answer()
        wires = [self.wire, self.gate.open_as(handshake_request()), self.gate.open_as(handshake_request())]
        for wire in wires:
            wire.deliver(frame(TEXT, b"x" * 900, fin=False))
        self.assertEqual([[found.opcode for found in self.frames(wire)] for wire in wires], [[CLOSE], [], []])
        self.assertEqual(self.gate.budgets.partial.used, 1800)
        wires[0].deliver(frame(CONTINUATION, b"x"))
        for wire in wires[1:]:
            wire.deliver(frame(CONTINUATION, b"x"))
        self.assertEqual([len(body or b"") for _, body in self.puts], [901, 901])
        self.assertEqual(self.gate.budgets.partial.used, 0)

    def test_alone_and_too_much(self) -> None:
        """Then it is itself that has to go."""
        self.gate.budgets.partial.limit = 100
        self.wire.deliver(frame(TEXT, b"x" * 900, fin=False))
        self.assertEqual(self.gate.budgets.partial.used, 0)
        self.wire.deliver(close_frame(1008))
        self.assert_closed(1008, "protocol")


class PingTests(WebSocketTestCase):
    """RFC 6455 §5.5.2 and §5.5.3."""

    def test_pongs(self) -> None:
        """Each ping is answered with what it carried."""
        self.wire.deliver(frame(PING) + frame(PING, b"a" * 125))
        self.assertEqual(self.frames(), [Frame(PONG, b""), Frame(PONG, b"a" * 125)])

    def test_pongs_to_a_client_that_does_not_read(self) -> None:
        """Only the most recent ping is answered, once there is room: no queue grows."""
        self.gate = Gate()
        self.wire = self.gate.open()
        self.wire.stall()
        self.gate.ask("PUT", f"/{self.gate.key}", b"a" * 70000)
        before = self.gate.connection.outbox.buffered
        for number in range(1000):
            self.wire.deliver(frame(PING, b"%d" % number))
            self.gate.clock.advance(0.02)
        self.assertEqual(self.gate.connection.outbox.buffered, before)
        self.wire.flow()
        self.assertEqual(self.frames()[1:], [Frame(PONG, b"999")])
        self.wire.deliver(frame(PING, b"again"))
        self.assertEqual(self.frames(), [Frame(PONG, b"again")])

    def test_pings_of_ours(self) -> None:
        """A silent client is pinged; its pong is all that is wanted, and unasked ones do no harm."""
        self.gate.clock.advance(15)
        self.gate.connection.check(self.gate.clock.seconds())
        (ping,) = self.frames()
        self.assertEqual(ping.opcode, PING)
        self.wire.deliver(frame(PONG, ping.payload) + frame(PONG, b"unasked"))
        self.gate.clock.advance(14)
        self.gate.connection.check(self.gate.clock.seconds())
        self.assertEqual((self.frames(), self.wire.over), ([], False))

    def test_pings_that_carry_something(self) -> None:
        """They go out behind the message before them, also where that waits, and pongs bring it back."""
        for offers in ((), (("Sec-WebSocket-Extensions", "permessage-deflate"),)):
            self.gate = Gate(WS_COMPRESSION="on", WS_MAX_MESSAGE="100000")
            self.wire = self.gate.open("/", *offers)
            self.wire.stall()
            confirmed = [
                self.gate.connection.outbox.push_confirmed(Message(payload, True), 10)
                for payload in (bytes(70000), b"b", b"c" * 70000)
            ]
            self.wire.flow()
            frames = self.frames()
            kinds = [(got.opcode, bool(got.rsv)) for got in frames]
            self.assertEqual(kinds, [(BINARY, bool(offers)), (PING, False)] * 3)
            self.wire.deliver(frame(PONG, frames[3].payload, mask=b"\0\xff\x80\1"))
            self.assertEqual([self.successResultOf(each) for each in confirmed[:2]], [True, True])
            self.assertNoResult(confirmed[2])
            self.wire.deliver(frame(TEXT, b"between") + frame(PONG, frames[5].payload) + frame(TEXT, b"them"))
            self.assertTrue(self.successResultOf(confirmed[2]))

    def test_a_dead_client(self) -> None:
        """It is cut off, without a Close frame that it would not read."""
        connection = self.gate.connection
        self.gate.clock.advance(15)
        connection.check(self.gate.clock.seconds())
        self.frames()
        self.gate.clock.advance(15)
        connection.check(self.gate.clock.seconds())
        self.gate.turn()
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.frames(), [])
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "timeout")
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "1006")


class FastPingTests(PingTests):
    """The same without Autobahn, where a frame is as plain as an empty ping."""

    settings = WebSocketTestCase.settings

    def test_a_pong_is_not_parsed(self) -> None:
        """It is heard."""
        self.patch(self.wire.protocol, "_dataReceived", self.fail)
        self.gate.clock.advance(10)
        self.wire.deliver(frame(PONG))
        self.assertEqual(self.gate.connection.last_seen_at, self.gate.now())

    def test_what_looks_like_a_pong_in_a_message(self) -> None:
        """It is a part of that message."""
        self.always()
        pong = frame(PONG)
        whole = frame(BINARY, b"ab" + pong, mask=bytes(4))
        for cut in (len(whole) - len(pong), 2):
            for data in (whole[:cut], whole[cut:]):
                self.wire.deliver(data)
        payload = b"x" * 20 + pong
        whole = frame(BINARY, payload, mask=bytes(4))
        self.wire.deliver(whole[: -len(pong)])
        self.wire.deliver(whole[-len(pong) :])
        self.assertEqual([body for _, body in self.puts], [b"ab" + pong, b"ab" + pong, payload])

    def test_between_the_fragments_of_a_message(self) -> None:
        """RFC 6455 §5.4: control frames may stand there."""
        self.always()
        self.wire.deliver(frame(TEXT, b"a", fin=False))
        self.wire.deliver(frame(PONG))
        self.wire.deliver(frame(CONTINUATION, b"b"))
        self.assertEqual(self.puts, [("text", b"ab")])

    def test_against_the_rules(self) -> None:
        """Not masked, in fragments, or with reserved bits: Autobahn judges (RFC 6455 §5.1, §5.2, §5.5)."""
        for data in (b"\x8a\x04abcd", b"\x0a\x80abcd", b"\xca\x80abcd"):
            self.setUp()
            self.wire.deliver(data)
            (last,) = self.frames()
            self.assertEqual((last.opcode, last.payload[:2]), (CLOSE, close_payload(1002)), data)

    def test_no_ping_behind_a_close_frame(self) -> None:
        """RFC 6455 §5.5.1 allows no more data, and no pong is awaited."""
        protocol = self.wire.protocol
        self.gate.ask("DELETE", f"/{self.gate.key}")
        self.assertEqual([found.opcode for found in self.frames()], [CLOSE])
        protocol.ping()
        self.assertEqual(self.frames(), [])


class BufferedPongTests(WebSocketTestCase):
    """Pongs wait too for a client that does not read."""

    settings = WebSocketTestCase.settings

    def test_it_is_looked_at(self) -> None:
        """Each second from then on, so that it is given up in time, though it pings all the while."""
        looks, clock = self.gate.totals.due, self.gate.clock
        self.wire.stall()
        begin = clock.seconds()
        for _ in range(29):
            self.wire.deliver(frame(PING))
            clock.advance(1)
            for connection in looks.take(clock.seconds(), 10):
                connection.check(clock.seconds())
        self.assertFalse(self.wire.over)
        while not self.wire.aborted and clock.seconds() < begin + 40:
            self.wire.deliver(frame(PING))
            clock.advance(0.25)
            for connection in looks.take(clock.seconds(), 10):
                connection.check(clock.seconds())
        self.assertLessEqual(clock.seconds() - begin, 32)
        self.gate.turn()
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "slow")


class CloseTests(WebSocketTestCase):
    """Who closes, and with what (protocol §2, "The first cause wins")."""

    def test_by_the_client(self) -> None:
        """Its code is echoed (RFC 6455 §5.5.1) and told, with its reason."""
        for code in (1000, 1001, 1003, 1008, 1011, 3000, 4999):
            self.setUp()
            self.wire.deliver(close_frame(code, "tschüß"))
            self.assert_closed(code, "client", answered=False)
            self.assertEqual(self.gate.agent.last.header("Ws-Close-Reason"), "tsch%C3%BC%C3%9F")

    def test_by_the_client_without_a_code(self) -> None:
        """1005 is told; an empty Close frame is answered with an empty one."""
        self.wire.deliver(frame(CLOSE))
        self.assert_closed(None, "client", told=1005, answered=False)
        self.assertIsNone(self.gate.agent.last.header("Ws-Close-Reason"))

    def test_without_a_close_frame(self) -> None:
        """1006."""
        self.wire.end(ConnectionLost)
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "1006")
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "client")

    def test_by_the_api(self) -> None:
        """With any code that it may ask for, those included that Autobahn would not send."""
        for code in (1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 4999):
            self.setUp()
            self.gate.ask("DELETE", f"/{self.gate.key}?code={code}")
            self.assertFalse(self.wire.disconnecting)
            self.assert_closed(code, "api")

    def test_a_close_that_the_client_does_not_answer(self) -> None:
        """It is cut off after five seconds."""
        self.gate.ask("DELETE", f"/{self.gate.key}")
        self.gate.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.gate.turn()
        self.assertFalse(self.wire.over)
        self.gate.clock.advance(0.1)
        self.gate.turn()
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "1000")

    def test_a_client_that_closes_and_does_not_read(self) -> None:
        """What waits for it is forgotten, and it is cut off after five seconds; no timer of Autobahn's does that."""
        self.gate = Gate()
        self.wire = self.gate.open()
        self.wire.stall()
        for _ in range(4):
            self.gate.ask("PUT", f"/{self.gate.key}", b"a" * 100_000)
        self.wire.deliver(close_frame(1000))
        self.gate.clock.advance(CLOSE_TIMEOUT)
        self.gate.turn()
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "client")

    def test_messages_behind_a_close_frame(self) -> None:
        """They are none (RFC 6455 §5.5.1)."""
        self.always()
        self.wire.deliver(frame(TEXT, b"1") + close_frame(1000) + frame(TEXT, b"2"))
        self.assertEqual(self.puts, [("text", b"1")])
        self.assert_closed(1000, "client", answered=False)

    def test_messages_that_cross_our_close_frame(self) -> None:
        """They are counted, not delivered."""
        self.gate.ask("DELETE", f"/{self.gate.key}?code=4000")
        self.wire.deliver(frame(TEXT, b"1") + frame(TEXT, b"2"))
        self.assert_closed(4000, "api")
        self.assertEqual(self.puts, [])
        self.assertEqual(self.gate.agent.last.header("Ws-Undelivered"), "2")

    def test_both_close(self) -> None:
        """The first counts, and nothing is sent twice."""
        self.gate.ask("DELETE", f"/{self.gate.key}?code=4000")
        self.wire.deliver(close_frame(4999))
        self.gate.turn()
        self.assertEqual(self.frames(), [Frame(CLOSE, close_payload(4000))])
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "4000")
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "api")


class ProtocolErrorTests(WebSocketTestCase):
    """What a client may not do."""

    def test_1002(self) -> None:
        """Frames that RFC 6455 does not know."""
        for data in (
            frame(TEXT, b"a", mask=None),
            frame(TEXT, b"a", rsv=1),
            frame(TEXT, b"a", rsv=4),
            frame(3, b"a"),
            frame(11, b"a"),
            frame(PING, b"a", fin=False),
            frame(PING, b"a" * 126),
            frame(CONTINUATION, b"a"),
            frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
            frame(CLOSE, b"a"),
            close_frame(999),
            close_frame(1004),
            close_frame(1005),
            close_frame(1006),
            close_frame(1015),
            close_frame(2000),
            close_frame(5000),
            b"\x82\xfe\x00\x01" + b"mask" + b"a",
        ):
            self.setUp()
            self.wire.deliver(data)
            self.assert_closed(1002, "protocol")
            self.assertEqual(self.puts, [])

    def test_1002_for_an_impossible_length(self) -> None:
        """The end of such a frame is unknown, so the answer to the Close is not found; the close timeout ends it."""
        self.wire.deliver(b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" + b"mask")
        self.assert_closed(1002, "protocol", in_time=False)

    def test_1007(self) -> None:
        """Text that is not UTF-8, found at the byte that breaks it, and reasons."""
        for data in (
            frame(TEXT, b"\xff"),
            frame(TEXT, b"\xc3"),
            frame(TEXT, b"\xed\xa0\x80"),
            frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"\xff", fin=False),
            frame(CLOSE, b"\x03\xe8\xff"),
        ):
            self.setUp()
            self.wire.deliver(data)
            self.assert_closed(1007, "protocol")
            self.assertEqual(self.puts, [])

    def test_1007_in_the_middle_of_a_frame(self) -> None:
        """It does not wait for the end of it."""
        self.wire.deliver(frame(TEXT, b"a\xff" + b"b" * 500)[:10])
        self.assert_closed(1007, "protocol", in_time=False)

    def test_1009(self) -> None:
        """Told by the head of a frame, before any of its payload is there, or by the sum of fragments."""
        for data in (
            frame(BINARY, b"a" * 1001)[:8],
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + b"mask",
            frame(TEXT, b"a" * 900, fin=False) + frame(CONTINUATION, b"a" * 101)[:6],
        ):
            self.setUp()
            self.wire.deliver(data)
            self.assert_closed(1009, "protocol", answered=False, in_time=False)
            self.assertEqual(self.puts, [])

    def test_the_message_before(self) -> None:
        """It gets its answer, the client that answer's reply, then the Close; what was not begun is counted."""
        self.wire.deliver(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(3) + frame(PING, b"!") + frame(TEXT, b"3"))
        self.assertEqual(self.puts, [("text", b"1")])
        self.assertEqual(self.frames(), [])
        self.gate.agent.last.answer(200, b"reply", ("Ws-Reply", "text"))
        reply, *rest = self.frames()
        self.assertEqual(reply, Frame(TEXT, b"reply"))
        self.assertEqual([(last.opcode, last.payload[:2]) for last in rest], [(CLOSE, close_payload(1002))])
        self.wire.deliver(close_frame(1002))
        self.gate.turn()
        self.assertEqual(self.puts, [("text", b"1")])
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "protocol")
        self.assertIn(self.gate.agent.last.header("Ws-Undelivered"), ("1", "2"))

    def test_pushes_do_not_find_it(self) -> None:
        """It is closing."""
        self.wire.deliver(frame(3))
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"a").status, 404)

    @moderately
    @given(st.lists(st.binary(max_size=80) | st.builds(frame, st.integers(0, 15), st.binary(max_size=150)), max_size=8))
    def test_any_bytes(self, segments: list[bytes]) -> None:
        """Nothing raises; the client gets frames, at most one Close, and the API exactly one DELETE."""
        self.setUp()
        self.always()
        for segment in segments:
            if not self.wire.over:
                self.wire.deliver(segment)
                self.gate.turn()
        if not self.wire.over:
            self.wire.end()
        self.assertLessEqual(sum(found.opcode == CLOSE for found in self.frames()), 1)
        self.assertEqual(self.gate.agent.methods.count("DELETE"), 1)
        self.assertEqual(self.gate.agent.last.method, "DELETE")
        self.assertEqual(len(self.gate.registry), 0)
        self.assertEqual(self.gate.clock.getDelayedCalls(), [])


class PauseTests(WebSocketTestCase):
    """Back-pressure: what the API has not taken is bounded."""

    def fill(self, count: int) -> None:
        """Send messages in one segment; two of them are more than may wait."""
        self.wire.deliver(b"".join(frame(BINARY, b"%d" % number * 600) for number in range(count)))

    @property
    def messages_in(self) -> int:
        """How many messages were parsed."""
        return self.gate.connection.traffic.messages_in

    def test_pause_leaves_frames_unparsed(self) -> None:
        """Those of the same segment too, and pings."""
        self.wire.deliver(frame(BINARY, b"a" * 600) * 2 + frame(PING, b"!") + frame(BINARY, b"a" * 600) * 3)
        self.assertEqual(self.wire.producerState, "paused")
        self.assertEqual((self.messages_in, self.frames()), (2, []))

    def test_resume_parses_what_was_read(self) -> None:
        """Then it reads again; all in order."""
        self.fill(6)
        self.wire.deliver(frame(TEXT, b"later"))
        for _ in range(7):
            self.assertEqual(self.gate.agent.last.method, "PUT")
            self.gate.agent.last.answer(200, b"")
            self.gate.turn()
        self.assertEqual(self.wire.producerState, "producing")
        expected = [("binary", b"%d" % number * 600) for number in range(6)]
        self.assertEqual(self.puts, [*expected, ("text", b"later")])

    def test_the_close_frame_waits_its_turn(self) -> None:
        """It is the client's last, behind all of its messages."""
        self.fill(5)
        self.wire.deliver(close_frame(1000))
        self.assertEqual(self.frames(), [])
        for _ in range(5):
            self.gate.agent.last.answer(200, b"")
            self.gate.turn()
        self.assertEqual(len(self.puts), 5)
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "client")
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "1000")
        self.assertIsNone(self.gate.agent.last.header("Ws-Undelivered"))

    def test_what_had_arrived_before_the_loss_is_delivered(self) -> None:
        """Parsed or not; the DELETE comes behind it."""
        self.fill(6)
        self.wire.end(ConnectionLost)
        for _ in range(6):
            self.assertEqual(self.gate.agent.last.method, "PUT")
            self.gate.agent.last.answer(200, b"")
        self.assertEqual(self.puts, [("binary", b"%d" % number * 600) for number in range(6)])
        self.assertEqual(self.gate.agent.last.method, "DELETE")
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "1006")

    def test_a_close_frame_that_had_arrived_before_the_loss(self) -> None:
        """It is the cause, not the loss."""
        self.fill(4)
        self.wire.protocol.dataReceived(close_frame(4001, "bye"))
        self.wire.end(ConnectionLost)
        for _ in range(4):
            self.gate.agent.last.answer(200, b"")
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Code"), "4001")
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Reason"), "bye")

    def test_answers_that_come_at_once_after_the_loss(self) -> None:
        """Each message is delivered once, in order."""
        self.fill(6)
        first = self.gate.agent.last
        self.always()
        self.gate.clock.callLater(0, first.answer, 200, b"")
        self.wire.end(ConnectionLost)
        self.gate.turn()
        self.assertEqual(self.puts, [("binary", b"%d" % number * 600) for number in range(6)])
        self.assertEqual(self.gate.agent.methods.count("DELETE"), 1)

    def test_our_close_resumes_reading(self) -> None:
        """The answer to it must be heard."""
        self.fill(4)
        self.gate.ask("DELETE", f"/{self.gate.key}?code=4000")
        self.wire.deliver(close_frame(4000))
        self.gate.turn()
        self.assertTrue(self.wire.over)
        self.assertFalse(self.wire.aborted)


class FaultTests(WebSocketTestCase):
    """A fault of the gateway's own closes with 1011, is logged, and the API hears of it."""

    def break_down(self) -> None:
        """Let the next message meet a fault."""

        def broken(connection: Connection, message: Message) -> None:
            raise ZeroDivisionError

        self.patch(Connection, "received", broken)

    def test_1011(self) -> None:
        """And the connection ends as others do."""
        self.break_down()
        self.wire.deliver(frame(TEXT, b"a"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.wire.deliver(frame(TEXT, b"b"))
        self.assert_closed(1011, "error", in_time=False)
        # One fault is one event: the parser is not asked again.
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_at_the_end(self) -> None:
        """In what is parsed when the transport is gone."""
        self.wire.deliver(frame(BINARY, b"a" * 600) * 4)
        self.break_down()
        self.wire.end(ConnectionLost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.gate.agent.last.answer(200, b"")
        self.assertEqual(self.gate.agent.last.method, "DELETE")
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "error")


class MemoryTests(WebSocketTestCase):
    """What is over is freed at once; full collections grow with the number of connections."""

    def setUp(self) -> None:
        """Switch the collector off."""
        super().setUp()
        self.wire.end()
        self.gate.agent.calls.pop().answer()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def count(self) -> int:
        """:returns: how many connections there are in memory"""
        return sum(isinstance(thing, Connection) for thing in gc.get_objects())

    def assert_freed(
        self, *segments: bytes, gate: Gate | None = None, offers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Nothing of a connection is left when it ends."""
        gate = gate or self.gate
        before = self.count()
        wire = gate.open("/", *offers)
        protocol: weakref.ref[Any] = weakref.ref(wire.protocol)
        self.assertEqual(self.count(), before + 1)
        gate.agent.react = lambda call: call.answer(200, b"", ("Ws-Reply", "text"))
        for segment in segments:
            wire.deliver(segment)
        gate.turn()
        wire.end()
        gate.agent.react = None
        gate.agent.calls.clear()
        del wire
        self.assertIsNone(protocol(), segments)
        self.assertEqual(self.count(), before, segments)
        self.assertEqual(gate.clock.getDelayedCalls(), [])

    def test_freed(self) -> None:
        """However it ended."""
        self.assert_freed()
        self.assert_freed(frame(TEXT, b"a"), frame(PING))
        self.assert_freed(frame(TEXT, b"a", fin=False), frame(TEXT, b"a")[:4])
        self.assert_freed(close_frame(1000))
        self.assert_freed(frame(3))
        self.assert_freed(frame(TEXT, b"\xff"))

    def test_freed_with_compression(self) -> None:
        """Its windows too."""
        gate = Gate(WS_COMPRESSION="on")
        self.assert_freed(
            frame(TEXT, deflate(b"a" * 50), rsv=4),
            gate=gate,
            offers=(("Sec-WebSocket-Extensions", "permessage-deflate"),),
        )
