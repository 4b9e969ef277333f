"""Pushes as a pusher sends them: one behind another, in pieces, late, among other requests."""

from __future__ import annotations

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    TEXT,
    Frame,
    Gate,
    HttpAnswer,
    Wire,
    close_frame,
    handshake_request,
    http_request,
    read_answer,
    read_answers,
    read_frames,
)
from wsaas.net.http1.connection import LINGER, REFUSED_PAUSE
from wsaas.net.http1.deadlines import Deadlines
from wsaas.net.http1.server import Channel

HEAD_TIMEOUT = 30.0
IDLE_TIMEOUT = 60.0
MAX_MESSAGE = 100


class PushesTestCase(SynchronousTestCase):
    """A gateway with one open WebSocket."""

    def setUp(self) -> None:
        """Open it."""
        self.gate = Gate(WS_MAX_MESSAGE=str(MAX_MESSAGE), WS_MAX_BUFFER="1000000")
        self.client = self.gate.open()
        self.target = f"/{self.gate.key}"

    def put(self, body: bytes, *headers: tuple[str, str], target: str | None = None) -> bytes:
        """:returns: a plain push"""
        return http_request("PUT", target or self.target, body, *headers)

    def received(self) -> list[bytes]:
        """:returns: the texts that the client got since the last time"""
        frames = read_frames(self.client.take())
        self.assertEqual([frame for frame in frames if frame.opcode != TEXT], [])
        return [frame.payload for frame in frames]

    def only(self, wire: Wire) -> HttpAnswer:
        """:returns: the one answer that has come"""
        answer, rest = read_answer(wire.take())
        self.assertEqual(rest, b"")
        return answer


class KnownTests(PushesTestCase):
    """Header lines that are remembered: those of pushers that may push, and what they say does not change."""

    @property
    def known(self) -> int:
        """How many blocks there are."""
        return len(self.gate.push_site.known)

    def test_once(self) -> None:
        """Byte for byte the same lines are parsed once, whatever is pushed and to whom."""
        wire = self.gate.connect()
        for body in (b"one", b"two"):
            wire.deliver(self.put(body))
        other = self.gate.open()
        wire.deliver(self.put(b"333", target=f"/{self.gate.key}"))
        self.assertEqual((self.known, len(read_answers(wire.take()))), (1, 3))
        self.assertEqual((self.received(), len(read_frames(other.take()))), ([b"one", b"two"], 1))

    def test_they_mean_what_they_say(self) -> None:
        """Text or binary, how long, and whether the connection is kept; of GET and HEAD as well."""
        wire = self.gate.connect()
        for _ in range(3):
            wire.deliver(self.put(b"\xff", ("Content-Type", "image/png")))
            wire.deliver(self.put(b"\xff"))
            wire.deliver(self.put(b"text"))
            wire.deliver(http_request("GET", self.target))
            self.assertEqual([a.status for a in read_answers(wire.take())], [200, 400, 200, 200])
        frames = read_frames(self.client.take())
        self.assertEqual(frames, [Frame(BINARY, b"\xff"), Frame(TEXT, b"text")] * 3)
        wire.deliver(self.put(b"text", ("Connection", "close")))
        self.assertEqual(self.only(wire).header("Connection"), "close")

    def test_only_of_those_who_may_push(self) -> None:
        """Nobody else pushes them out of memory: who has no token, no connection, asks for what cannot be had, or sends
        other ones each time.
        """
        gate = self.gate = Gate(PUSH_TOKEN="token", WS_MAX_MESSAGE=str(MAX_MESSAGE))
        gate.open()
        right, target = ("Authorization", "Bearer token"), f"/{gate.key}"
        for request in (
            http_request("PUT", target, b"a"),
            http_request("PUT", target, b"a", ("Authorization", "Bearer wrong")),
            http_request("PUT", "/unknown", b"a", right),
            http_request("PUT", target, b"a" * (MAX_MESSAGE + 1), right),
            http_request("PUT", target, b"a", right, ("Content-Type", "text/plain; charset=latin-1")),
            http_request("PUT", target, b"a", right, ("Idempotency-Key", "a b")),
            http_request("PUT", target, b"a", right, ("IDEMPOTENCY-KEY", "a")),
            http_request("PUT", target, b"a", right, ("A", "a" * 4096)),
            http_request("GET", target, None, right),
            handshake_request(),
        ):
            for _ in range(2):
                gate.connect().deliver(request)
            self.assertEqual(self.known, 0, request)
        wire = gate.connect()
        for _ in range(2):
            wire.deliver(http_request("PUT", target, b"a", right) + http_request("PUT", target, b"a"))
        self.assertEqual(self.known, 1)
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200, 401] * 2)

    def test_but_for_the_key(self) -> None:
        """Lines that differ in ``Idempotency-Key`` only are remembered once, and each keeps its own."""
        wire, text = self.gate.connect(), ("Content-Type", "text/plain")
        for number in range(5):
            for _ in range(2):
                wire.deliver(self.put(b"%d" % number, ("Idempotency-Key", f"key-{number}"), text))
        wire.deliver(self.put(b"n", text) * 2)
        self.assertEqual(self.known, 1)
        wire.deliver(self.put(b"o", ("idempotency-key", "key-1"), text))
        wire.deliver(self.put(b"o", ("Idempotency-Key", "key-5"), ("Idempotency-Key", "key-6"), text))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200] * 13 + [400])
        self.assertEqual(self.received(), [*(b"%d" % number for number in range(5)), b"n", b"n"])

    def test_they_are_bounded(self) -> None:
        """However many there are."""
        wire = self.gate.connect()
        for number in range(1200):
            wire.deliver(self.put(b"a", ("A", str(number))))
        self.assertLessEqual(self.known, 512)
        self.assertEqual(len(read_answers(wire.take())), 1200)


class TrustTests(PushesTestCase):
    """Refusals that take the time of others, and those that do not."""

    def test_with_a_token(self) -> None:
        """Whoever has one may meet any number of clients that have gone."""
        gate = Gate(PUSH_TOKEN="token")
        client = gate.open()
        token = ("Authorization", "Bearer token")
        right, gone = (http_request("PUT", f"/{key}", b"a", token) for key in (gate.key, "0" * len(gate.key)))
        wire = gate.connect()
        wire.deliver((right + gone * 5) * 10)
        self.assertEqual([answer.status for answer in read_answers(wire.take())], ([200] + [404] * 5) * 10)
        self.assertEqual(len(read_frames(client.take())), 10)

    def test_without(self) -> None:
        """Two at a time, then somebody else's turn."""
        for settings, headers in (({}, ()), ({"PUSH_TOKEN": "token"}, (("Authorization", "Bearer wrong"),))):
            gate = Gate(None, **settings)
            wire = gate.connect()
            wire.deliver(http_request("PUT", "/" + "0" * 24, b"a", *headers) * 5)
            self.assertEqual(len(read_answers(wire.take())), 2)
            wire.end()


class StreamTests(PushesTestCase):
    """Requests of a pusher, one behind another."""

    def test_in_slices(self) -> None:
        """Wherever a body is cut, in two or in many; with another push behind it."""
        push = self.put(b"hello")
        head = len(push) - 5
        for cut in range(head, len(push)):
            wire = self.gate.connect()
            wire.deliver(push[:cut])
            self.assertEqual(wire.take(), b"")
            wire.deliver(push[cut:] + push)
            data = wire.take()
            self.assertEqual(len(read_answers(data)), 2)
        wire = self.gate.connect()
        wire.deliver(push[:head])
        for place in range(head, len(push)):
            self.assertEqual(wire.take(), b"")
            wire.deliver(push[place : place + 1])
        self.assertEqual(self.only(wire).status, 200)
        self.assertEqual(self.received(), [b"hello"] * 11)

    def test_held_behind_held(self) -> None:
        """The end of one body comes with the beginning of the next."""
        wire = self.gate.connect()
        push = self.put(b"hello")
        wire.deliver(push + push[:-3])
        wire.deliver(push[-3:] + push[:-2])
        wire.deliver(push[-2:])
        self.assertEqual(len(read_answers(wire.take())), 3)
        self.assertEqual(len(self.received()), 3)

    def test_heads_in_slices(self) -> None:
        """Wherever they are cut; with another push behind."""
        push = self.put(b"hello")
        for cut in range(1, len(push) - 5):
            wire = self.gate.connect()
            wire.deliver(push[:cut])
            wire.deliver(push[cut:])
            wire.deliver(push)
            self.assertEqual([answer.status for answer in read_answers(wire.take())], [200, 200])

    def test_among_other_requests(self) -> None:
        """Answers come in the order of their requests, in one segment or in many."""
        chunked = http_request("PUT", self.target, None, ("Transfer-Encoding", "chunked")) + b"1\r\n2\r\n0\r\n\r\n"
        requests = [
            self.put(b"1"),
            chunked,
            self.put(b"3"),
            http_request("GET", self.target),
            self.put(b"4", target="/unknown"),
            self.put(b"5" * (MAX_MESSAGE + 1)),
            self.put(b"6"),
            http_request("POST", self.target),
            self.put(b"7", ("Expect", "none")),
            self.put(b"8"),
        ]
        statuses = [200, 200, 200, 200, 404, 413, 200, 405, 200, 200]
        for segments in (
            [b"".join(requests)],
            requests,
            [requests[0] + requests[1][:-4], requests[1][-4:], *requests[2:]],
        ):
            wire = self.gate.connect()
            for segment in segments:
                wire.deliver(segment)
            self.gate.clock.advance(REFUSED_PAUSE)
            self.assertEqual([answer.status for answer in read_answers(wire.take())], statuses)
            self.assertEqual(self.received(), [b"1", b"2", b"3", b"6", b"7", b"8"])

    def test_within_another_request(self) -> None:
        """What looks like a push in the middle of a head or a body, or of a line, is none, wherever segments end."""
        push = self.put(b"smuggled")
        for beginning in (
            b"X",
            b"PUT /unknown HTTP/1.1\r\n",
            b"PUT /unknown HTTP/1.1\r\nA: b",
            b"PUT /unknown HTTP/1.1\r\nHost: h\r\n",
            http_request("PUT", self.target, None, ("Content-Length", "100"), ("Expect", "none")),
            http_request("PUT", self.target, None, ("Transfer-Encoding", "chunked")) + b"ff\r\n",
            http_request("PUT", "/unknown", None, ("Content-Length", "1000")),
        ):
            wire = self.gate.connect()
            wire.deliver(beginning)
            wire.deliver(push)
            self.assertEqual(self.received(), [], beginning)

    def test_behind_connection_close(self) -> None:
        """Nothing is carried out any more."""
        wire = self.gate.connect()
        wire.deliver(self.put(b"1", ("Connection", "close")) + self.put(b"2"))
        wire.deliver(self.put(b"3"))
        self.gate.turn()
        self.assertEqual(self.only(wire).header("Connection"), "close")
        self.assertTrue(wire.over)
        self.assertEqual(self.received(), [b"1"])

    def test_behind_a_refusal(self) -> None:
        """A connection that lingers carries out nothing."""
        wire = self.gate.connect()
        wire.deliver(self.put(b"1") + b"nonsense\r\n" + self.put(b"2"))
        wire.deliver(self.put(b"3"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200, 400])
        self.assertEqual(self.received(), [b"1"])

    def test_an_empty_line_behind_each_push(self) -> None:
        """It is passed over."""
        wire = self.gate.connect()
        for _ in range(3):
            wire.deliver(self.put(b"1") + b"\r\n")
            self.assertEqual(self.only(wire).status, 200)

    def test_pushers_with_a_listener_of_their_own(self) -> None:
        """And nothing for them among the clients."""
        gate = Gate(PUSH_LISTEN="tcp:81")
        client = gate.open()
        push = http_request("PUT", f"/{gate.key}", b"hello")
        wire = gate.connect(gate.push_site)
        wire.deliver(push)
        self.assertEqual(self.only(wire).status, 200)
        self.assertEqual(read_frames(client.take()), [Frame(TEXT, b"hello")])
        wire = gate.connect()
        wire.deliver(push)
        self.assertEqual(self.only(wire).status, 405)
        self.assertEqual(client.take(), b"")

    def test_the_client_closes_while_the_body_is_held(self) -> None:
        """404."""
        wire = self.gate.connect()
        wire.deliver(self.put(b"hello")[:-1])
        self.client.deliver(close_frame(1000))
        wire.deliver(b"o" + self.put(b"next"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [404, 404])

    def test_a_pusher_that_does_not_read_its_answers(self) -> None:
        """It is not read any more when they fill the buffer; once it reads, everything goes on where it stopped."""
        wire = self.gate.connect()
        wire.stall()
        sent = 0
        while wire.producerState == "producing" and sent < 2000:
            wire.deliver(self.put(b"%d" % sent))
            sent += 1
        self.assertEqual(wire.producerState, "paused")
        self.assertLess(len(wire.dataBuffer), 70_000)
        for number in range(sent, sent + 10):
            wire.deliver(self.put(b"%d" % number))
        self.assertEqual(len(self.received()), sent)
        wire.flow()
        self.gate.turn()
        self.assertEqual(len(read_answers(wire.take())), sent + 10)
        self.assertEqual(self.received(), [b"%d" % number for number in range(sent, sent + 10)])


class DeadlineTests(PushesTestCase):
    """Bodies are complete in time; connections between two pushes may be idle for a while."""

    def assert_408(self, wire: Wire) -> None:
        """It took too long; what still comes is thrown away."""
        answer = self.only(wire)
        self.assertEqual((answer.status, answer.header("Connection")), (408, "close"))
        wire.deliver(b"o" + self.put(b"late"))
        self.assertEqual((wire.take(), self.received()), (b"", []))
        self.assertTrue(wire.half_closed)
        self.gate.clock.advance(LINGER)
        self.gate.turn()
        self.assertTrue(wire.over)

    def test_too_many_idle(self) -> None:
        """Who has not pushed for longest is cut off first, however often before."""
        self.gate.push_site.idle = Deadlines(self.gate.clock, IDLE_TIMEOUT, Channel.idle_too_long, 2, Channel.evict)
        busy, silent, new = (self.gate.connect() for _ in range(3))
        for wire in (busy, silent):
            wire.deliver(self.put(b"hello"))
        self.gate.clock.advance(1)
        busy.deliver(self.put(b"hello")[:-2])
        self.assertEqual(len(self.gate.push_site.idle), 1)
        busy.deliver(b"lo")
        self.assertEqual(len(self.gate.push_site.idle), 2)
        self.gate.clock.advance(1)
        silent.deliver(self.put(b"hello"))
        self.gate.clock.advance(1)
        busy.deliver(self.put(b"hello"))
        new.deliver(self.put(b"hello"))
        self.gate.turn()
        self.assertEqual([wire.over for wire in (busy, silent, new)], [False, True, False])

    def test_held_for_too_long(self) -> None:
        """The body has its own time, from the end of its head on; bytes that trickle do not make it longer."""
        wire = self.gate.connect()
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        wire.deliver(self.put(b"hello")[:-5])
        for byte in (b"h", b"e", b"l", b"l"):
            self.gate.clock.advance(7)
            self.assertEqual(wire.take(), b"")
            wire.deliver(byte)
        self.gate.clock.advance(2)
        self.assert_408(wire)

    def test_held_behind_a_push(self) -> None:
        """Its time begins when it begins."""
        wire = self.gate.connect()
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        wire.deliver(self.put(b"1") + self.put(b"hello")[:-1])
        self.assertEqual((self.only(wire).status, self.received()), (200, [b"1"]))
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(1)
        self.assert_408(wire)

    def test_each_has_its_own_time(self) -> None:
        """A held body that ends takes its deadline with it; the next one that is held has another."""
        wire = self.gate.connect()
        push = self.put(b"hello")
        wire.deliver(push[:-1])
        for _ in range(5):
            self.gate.clock.advance(HEAD_TIMEOUT - 1)
            wire.deliver(push[-1:] + push[:-1])
            self.assertEqual(self.only(wire).status, 200)
        self.received()
        self.gate.clock.advance(HEAD_TIMEOUT)
        self.assert_408(wire)

    def test_none_between_pushes(self) -> None:
        """The time for the first head ends with the first push, held or not; only the idle time-out runs then."""
        push = self.put(b"hello")
        for segments in ([push], [push[:-1], push[-1:]], [push, push]):
            wire = self.gate.connect()
            for segment in segments:
                self.gate.clock.advance(1)
                wire.deliver(segment)
            wire.take()
            self.gate.clock.advance(IDLE_TIMEOUT - 1)
            wire.deliver(push)
            self.assertEqual(self.only(wire).status, 200)
            self.gate.clock.advance(IDLE_TIMEOUT - 1)
            self.assertFalse(wire.disconnecting)
            self.gate.clock.advance(1)
            self.gate.turn()
            self.assertEqual((wire.take(), wire.over), (b"", True))

    def test_a_head_that_begins_behind_a_push(self) -> None:
        """Its time begins with it."""
        wire = self.gate.connect()
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        wire.deliver(self.put(b"1") + b"PUT /")
        self.only(wire)
        self.received()
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(1)
        self.assert_408(wire)

    def test_the_idle_time_out_outlived_by_a_body(self) -> None:
        """It runs again behind the push."""
        gate = Gate(WS_TIMEOUT="600000")
        gate.open()
        wire = gate.connect()
        push = http_request("PUT", f"/{gate.key}", b"hello")
        wire.deliver(push[:-1])
        gate.clock.advance(500)
        wire.deliver(push[-1:])
        self.assertEqual(self.only(wire).status, 200)
        gate.clock.advance(IDLE_TIMEOUT - 1)
        self.assertFalse(wire.disconnecting)
        gate.clock.advance(1)
        self.assertTrue(wire.disconnecting)


class MemoryTests(PushesTestCase):
    """What is over is freed at once."""

    def setUp(self) -> None:
        """Switch the collector off."""
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def test_freed(self) -> None:
        """Wherever in its life the connection was; and no timer is left, and no message goes out."""
        push, timers = self.put(b"hello"), len(self.gate.clock.getDelayedCalls())
        for segments, messages in (([push], 1), ([push[:-2]], 0), ([push, push[:-2], b"l"], 1), ([push + b"PUT"], 1)):
            wire = self.gate.connect()
            channel = weakref.ref(wire.protocol)
            for segment in segments:
                wire.deliver(segment)
            wire.end()
            del wire
            self.assertIsNone(channel(), segments)
            self.assertEqual(len(self.received()), messages)
            self.assertEqual(len(self.gate.clock.getDelayedCalls()), timers)
