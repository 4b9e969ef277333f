"""The fast lane of pushes: what it takes and what it leaves, and that nobody can tell which road a push took."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable, Sequence
from itertools import zip_longest

from hypothesis import given
from hypothesis import strategies as st
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
from tests.properties import moderately
from tests.unit.net.http1.test_channel import Rules
from tests.unit.net.http1.test_client_differential import EDITS, edited
from tests.unit.net.http1.test_parser import slices
from tests.unit.pushes import test_resource as test_push
from wsaas.connections.identity import new_identity
from wsaas.limits import Queue
from wsaas.net.http1 import turns
from wsaas.net.http1.channel import LINGER, Channel
from wsaas.net.http1.messages import Response
from wsaas.net.http1.push_lane import PushLane, read_lines
from wsaas.net.http1.site import ClientSite
from wsaas.net.http1.turns import REFUSED_PAUSE

HEAD_TIMEOUT = 30.0
IDLE_TIMEOUT = 60.0
MAX_MESSAGE = 100
HOST = b"Host: h\r\n"


def key_of(number: int) -> str:
    """:returns: the key of a gate's so-manieth connection"""
    return new_identity("", lambda count: number.to_bytes(count, "big")).key


class PutTests(test_push.PutTests):
    """All that holds of a PUT holds on the fast lane."""

    fast_lanes = "on"


class RefusalTests(test_push.RefusalTests):
    """What has no effect has none here, and for the same reasons."""

    fast_lanes = "on"


class IdempotencyTests(test_push.IdempotencyTests):
    """Pushes with a key among plain ones."""

    fast_lanes = "on"


class ConfirmTests(test_push.ConfirmTests):
    """Pushes that are answered later among plain ones."""

    fast_lanes = "on"


class TokenTests(test_push.TokenTests):
    """Nobody gets past a token on this road."""

    fast_lanes = "on"

    def test_by_the_lane(self) -> None:
        """Those with a right token only; the others are twisted.web's to refuse, and are not remembered."""
        lane = self.gate.lane
        assert lane is not None
        for _ in range(2):
            right = http_request("PUT", self.target, b"a", self.RIGHT)
            self.assertEqual(lane.take(right)[1], len(right))
            for headers in self.WRONG:
                self.assertEqual(lane.take(http_request("PUT", self.target, b"a", *headers)), (b"", 0, 0, False))
                # Nor is it told that more of a body is waited for, which would tell that there is such a key.
                self.assertEqual(lane.take(http_request("PUT", self.target, b"a", *headers)[:-1]), (b"", 0, 0, False))
        self.assertEqual(len(lane._remembered), 1)


class OrderTests(test_push.OrderTests):
    """Faults are found in the same order."""

    fast_lanes = "on"


class LinesTests(SynchronousTestCase):
    """Which header lines are those of a plain push."""

    def read(self, *lines: bytes) -> tuple[int, bool] | None:
        """:returns: length and whether it is binary; :data:`None` for what is not plain"""
        plain = read_lines(b"".join(line + b"\r\n" for line in lines))
        return None if plain is None else (plain.length, plain.binary)

    def assert_plain(self, *lines: bytes) -> None:
        """They are, beside Host and a length."""
        self.assertEqual(self.read(b"Host: h", b"Content-Length: 5", *lines), (5, False), lines)

    def assert_not_plain(self, *lines: bytes) -> None:
        """They are not, beside Host and a length."""
        self.assertIsNone(self.read(b"Host: h", b"Content-Length: 5", *lines), lines)

    def test_plain(self) -> None:
        """Host and a length; any case, any blanks around values, any other fields."""
        self.assert_plain()
        self.assertEqual(self.read(b"host:h", b"content-length:\t5 "), (5, False))
        self.assertEqual(self.read(b"HOST: h", b"CONTENT-LENGTH: 0005"), (5, False))
        self.assertEqual(self.read(b"Host:", b"Content-Length: 0"), (0, False))
        self.assert_plain(b"User-Agent: curl/8", b"Accept: */*", b"X-Empty:", b"Authorization: Bearer a\tb")
        self.assert_plain(b"Connection: keep-alive")
        self.assert_plain(b"connection:  Keep-Alive ", b"Connection: keep-alive")

    def test_types(self) -> None:
        """Text or binary is decided by the same rule as elsewhere; one type only; another charset is not plain."""
        for kind, binary in ((b"text/plain", False), (b"", False), (b"image/png", True), (b"application/json", False)):
            found = self.read(b"Host: h", b"Content-Length: 5", b"Content-Type: " + kind)
            self.assertEqual(found, (5, binary), kind)
        self.assert_not_plain(b"Content-Type: text/plain", b"Content-Type: text/plain")
        self.assert_not_plain(b"Content-Type: text/plain; charset=latin-1")

    def test_fields_for_twisted_web(self) -> None:
        """Whatever their value."""
        for name in (
            b"Connection",
            b"Content-Encoding",
            b"Expect",
            b"Idempotency-Key",
            b"TE",
            b"Trailer",
            b"Transfer-Encoding",
            b"Upgrade",
            b"Ws-Confirm",
        ):
            for line in (name + b": 1", name.lower() + b":", name.upper() + b": chunked"):
                self.assert_not_plain(line)
        for value in (b"close", b"keep-alive, close", b"keep-alive, te", b"", b"keepalive"):
            self.assert_not_plain(b"Connection: " + value)
            self.assert_not_plain(b"Connection: keep-alive", b"Connection: " + value)

    def test_lengths(self) -> None:
        """One, of digits, not too many of them."""
        for value in (b"", b"+5", b"-5", b"5 5", b"5,5", b"5, 5", b"0x5", b"5_0", b"5.0", b"a", b"9" * 11, b"9" * 5000):
            self.assertIsNone(self.read(b"Host: h", b"Content-Length: " + value), value[:20])
        self.assertEqual(self.read(b"Host: h", b"Content-Length: " + b"9" * 10), (9999999999, False))
        self.assertIsNone(self.read(b"Host: h"))
        self.assert_not_plain(b"Content-Length: 5")
        self.assert_not_plain(b"content-length: 6")

    def test_hosts(self) -> None:
        """One."""
        self.assertIsNone(self.read(b"Content-Length: 5"))
        self.assert_not_plain(b"Host: h")
        self.assert_not_plain(b"host: other")

    def test_lines(self) -> None:
        """Names are tokens, values visible ASCII and blanks, ends CR LF; nothing is folded (RFC 9110 §5.5)."""
        for line in (
            b" folded",
            b"\tfolded: a",
            b"A: b\r\n c",
            b"no colon",
            b": no name",
            b"Host : a",
            b"A b: c",
            b"A: \x00",
            b"A: \x7f",
            b"A: \xe9",
            b"A: b\rC: d",
            b"A: b\nTransfer-Encoding: chunked",
            b"A: b\n",
            b"\xc4: b",
            b"",
        ):
            self.assert_not_plain(line)
        self.assertIsNone(read_lines(b""))
        self.assertIsNone(read_lines(b"Host: h\r\nContent-Length: 5"))
        self.assertIsNone(read_lines(b"Host: h\nContent-Length: 5\n"))

    def test_many_lines(self) -> None:
        """twisted.web counts them, and has a limit."""
        self.assert_plain(*[b"a:"] * 98)
        self.assert_not_plain(*[b"a:"] * 99)

    @moderately
    @given(st.lists(st.sampled_from([b"Host", b":", b" ", b"\r", b"\n", b"\r\n", b"5", b"Content-Length: 5\r\n"])))
    def test_anything(self, parts: list[bytes]) -> None:
        """Whatever is plain says just one length and one host."""
        lines = b"".join(parts)
        if read_lines(lines) is not None:
            names = [line.partition(b":")[0].lower() for line in lines.split(b"\r\n")]
            self.assertEqual((names.count(b"host"), names.count(b"content-length")), (1, 1))


class LaneTestCase(SynchronousTestCase):
    """A gate with the lane, and one open WebSocket."""

    def setUp(self) -> None:
        """Open it."""
        self.gate = Gate(FAST_LANES="on", WS_MAX_MESSAGE=str(MAX_MESSAGE), WS_MAX_BUFFER="1000000")
        self.client = self.gate.open()
        assert self.gate.lane is not None
        self.lane = self.gate.lane
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

    def assert_by_the_lane(self, data: bytes) -> None:
        """The lane's answers are known by what twisted.web would add."""
        self.assertNotIn(b"Date:", data)


class TakeTests(LaneTestCase):
    """What of a stream is taken."""

    def assert_left(self, data: bytes) -> None:
        """None of it is, and nothing happens."""
        self.assertEqual(self.lane.take(data), (b"", 0, 0, False), data[:80])
        self.assertEqual(self.received(), [])

    def test_one(self) -> None:
        """All of it is used, and answered."""
        push = self.put(b"hello")
        answers, used, whole, _ = self.lane.take(push)
        self.assertEqual((used, whole), (len(push), 0))
        (answer,) = read_answers(answers)
        self.assertEqual((answer.status, answer.json), (200, {"code": "OK"}))
        self.assertEqual((answer.header("Cache-Control"), answer.header("Connection")), ("no-store", None))
        self.assertEqual(self.received(), [b"hello"])

    def test_binary(self) -> None:
        """Byte for byte."""
        self.lane.take(self.put(b"\xff\r\n\r\nPUT ", ("Content-Type", "image/png")))
        self.assertEqual(read_frames(self.client.take()), [Frame(BINARY, b"\xff\r\n\r\nPUT ")])

    def test_run(self) -> None:
        """Each is carried out and answered in its order; what follows is left."""
        run = self.put(b"1") + self.put(b"2") + self.put(b"3")
        for rest in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"P", b"PUT /", self.put(b"4", ("TE", "a"))):
            answers, used, whole, refused = self.lane.take(run + rest)
            self.assertEqual((used, whole, refused), (len(run), 0, False), rest)
            self.assertEqual([answer.status for answer in read_answers(answers)], [200, 200, 200])
            self.assertEqual(self.received(), [b"1", b"2", b"3"])

    def test_run_up_to_a_refusal(self) -> None:
        """It is the last one for now: a connection full of wrong pushes would keep everybody waiting."""
        for wrong, status in ((self.put(b"\xff"), 400), (self.put(b"2", target="/unknown"), 404)):
            run = self.put(b"1") + wrong
            answers, used, whole, refused = self.lane.take(run + self.put(b"3"))
            self.assertEqual((used, whole, refused), (len(run), 0, True))
            self.assertEqual([answer.status for answer in read_answers(answers)], [200, status])
            self.assertEqual(self.received(), [b"1"])

    def test_run_with_tokens(self) -> None:
        """Whoever has one may meet any number of clients that have gone."""
        gate = Gate(FAST_LANES="on", PUSH_TOKEN="token")
        client = gate.open()
        assert gate.lane is not None
        token = ("Authorization", "Bearer token")
        right, gone = (http_request("PUT", f"/{key}", b"a", token) for key in (gate.key, "0" * len(gate.key)))
        run = (right + gone * 5) * 20
        answers, used, whole, refused = gate.lane.take(run + gone)
        self.assertEqual((used, whole, refused), (len(run + gone), 0, False))
        self.assertEqual([answer.status for answer in read_answers(answers)], ([200] + [404] * 5) * 20 + [404])
        self.assertEqual(len(read_frames(client.take())), 20)

    def test_targets(self) -> None:
        """The key is the last segment, whatever stands before it."""
        for target in ("/a/b" + self.target, "/" + self.target, "/%2f/~;=@#" + self.target):
            push = self.put(b"a", target=target)
            self.assertEqual(self.lane.take(push)[1:], (len(push), 0, False), target)
            self.assertEqual(self.received(), [b"a"])

    def test_other_targets(self) -> None:
        """Queries, other forms, no key at all."""
        for target in (
            self.target + "?",
            self.target + "?a=b",
            "/?a" + self.target,
            self.target + "/",
            self.target + "%20",
            self.target + ".",
            "/",
            "*",
            self.target[1:],
            "http://h" + self.target,
            "gateway.test:443",
            '/"' + self.target,
            "/\xe9" + self.target,
            "/ " + self.target,
            "/\t" + self.target,
            "/\x7f" + self.target,
        ):
            self.assert_left(self.put(b"a", target=target))

    def test_other_request_lines(self) -> None:
        """Other methods and versions; the slightest deviation."""
        for line in (
            "GET {} HTTP/1.1",
            "DELETE {} HTTP/1.1",
            "put {} HTTP/1.1",
            "PUT {} HTTP/1.0",
            "PUT {} HTTP/1.2",
            "PUT {} HTTP/2.0",
            "PUT {} http/1.1",
            "PUT {}  HTTP/1.1",
            "PUT  {} HTTP/1.1",
            " PUT {} HTTP/1.1",
            "PUT\t{} HTTP/1.1",
            "PUT {} HTTP/1.1 ",
            "PUT {}",
            "PUT {} HTTP/1.1\r",
            "PUT {} HTTP/1.1\nA: b",
            "\r\nPUT {} HTTP/1.1",
        ):
            self.assert_left(line.format(self.target).encode() + b"\r\n" + HOST + b"Content-Length: 1\r\n\r\na")

    def test_ends_of_lines(self) -> None:
        """CR LF, and nothing else, not anywhere."""
        push = self.put(b"a")
        for place in range(push.count(b"\r\n")):
            parts = push.split(b"\r\n")
            for end in (b"\n", b"\r", b"\r\r\n", b"\n\n", b"\x00"):
                left, right = b"\r\n".join(parts[: place + 1]), b"\r\n".join(parts[place + 1 :])
                data = left + end + right
                answers, used, whole, _ = self.lane.take(data)
                self.assertEqual((answers, used, whole), (b"", 0, 0), data)

    def test_too_long(self) -> None:
        """The limit is inclusive; what is over it is twisted.web's to refuse, before its body is there."""
        self.assertEqual(len(read_answers(self.lane.take(self.put(b"a" * MAX_MESSAGE))[0])), 1)
        self.assertEqual(self.received(), [b"a" * MAX_MESSAGE])
        self.assert_left(self.put(b"a" * (MAX_MESSAGE + 1)))
        self.assert_left(self.put(b"a" * (MAX_MESSAGE + 1))[:-1])

    def test_long_heads(self) -> None:
        """They are left, as long as they are not complete as well."""
        for size in (4096, 20000):
            self.assert_left(self.put(b"a", ("A", "a" * size)))
            self.assert_left(self.put(b"a", ("A", "a" * size))[: size - 100])

    def test_incomplete_heads(self) -> None:
        """Wherever they are cut."""
        push = self.put(b"")
        for end in range(len(push)):
            self.assert_left(push[:end])

    def test_incomplete_bodies(self) -> None:
        """Whoever calls is told how long it will be, and nothing has happened yet."""
        push = self.put(b"hello")
        for missing in range(1, 6):
            self.assertEqual(self.lane.take(push[:-missing]), (b"", 0, len(push), False))
            answers, used, whole, _ = self.lane.take(push + push[:-missing])
            self.assertEqual((len(read_answers(answers)), used, whole), (1, len(push), len(push)))
            self.assertEqual(self.received(), [b"hello"])

    def test_incomplete_bodies_for_nobody(self) -> None:
        """They are refused by their heads (protocol §3), which twisted.web does."""
        self.assert_left(self.put(b"hello", target="/unknown")[:-1])

    def test_remembered_lines_are_bounded(self) -> None:
        """Plain or not, however many there are; and they mean what they say."""
        for number in range(1200):
            push = self.put(b"a", ("A", str(number)), *([("TE", "a")] if number % 2 else []))
            self.assertEqual(self.lane.take(push)[1], 0 if number % 2 else len(push))
        self.assertLessEqual(len(self.lane._remembered), 512)
        self.assertEqual(len(self.received()), 600)


class ChannelTests(LaneTestCase):
    """The lane between a pusher and twisted.web."""

    def test_by_the_lane(self) -> None:
        """One push, then another."""
        wire = self.gate.connect()
        for body in (b"1", b"2"):
            wire.deliver(self.put(body))
            data = wire.take()
            self.assert_by_the_lane(data)
            self.assertEqual(read_answers(data)[0].status, 200)
        self.assertEqual(self.received(), [b"1", b"2"])

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
            self.assert_by_the_lane(data)
            self.assertEqual(len(read_answers(data)), 2)
        wire = self.gate.connect()
        wire.deliver(push[:head])
        for place in range(head, len(push)):
            self.assertEqual(wire.take(), b"")
            wire.deliver(push[place : place + 1])
        self.assert_by_the_lane(wire.take())
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
        """twisted.web takes them; the one behind is the lane's again."""
        push = self.put(b"hello")
        for cut in range(1, len(push) - 5):
            wire = self.gate.connect()
            wire.deliver(push[:cut])
            wire.deliver(push[cut:])
            self.assertIn(b"Date:", wire.take())
            wire.deliver(push)
            self.assert_by_the_lane(wire.take())

    def test_between_requests_of_twisted_web(self) -> None:
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

    def test_behind_a_request_that_waits(self) -> None:
        """Nothing is carried out before it is answered, however it arrives."""
        rules = Rules()
        site = ClientSite(rules, rules, self.gate.clock, HEAD_TIMEOUT, MAX_MESSAGE, self.lane)
        for segments in ([b""], [self.put(b"1")], [b"", self.put(b"1"), self.put(b"2")[:-1], b"2"]):
            wire = self.gate.connect(site)
            wire.deliver(self.put(b"0") + http_request("GET", "/wait") + segments[0])
            for segment in segments[1:]:
                wire.deliver(segment)
            self.assertEqual(len(read_answers(wire.take())), 1)
            self.assertEqual(self.received(), [b"0"])
            Response(204).write_to(rules.waiting.pop())
            wire.deliver(self.put(b"3"))
            statuses = [answer.status for answer in read_answers(wire.take())]
            self.assertEqual(statuses, [204] + [200] * (len(statuses) - 1))
            self.assertEqual(self.received()[-1], b"3")

    def test_within_a_request_of_twisted_web(self) -> None:
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
        """twisted.web passes over one; a lane that it does not know of makes no two of two."""
        wire = self.gate.connect()
        for _ in range(3):
            wire.deliver(self.put(b"1") + b"\r\n")
            self.assertEqual(self.only(wire).status, 200)

    def test_pushers_with_a_listener_of_their_own(self) -> None:
        """The lane is there, and not among the clients."""
        gate = Gate(FAST_LANES="on", PUSH_LISTEN="tcp:81")
        client = gate.open()
        push = http_request("PUT", f"/{gate.key}", b"hello")
        wire = gate.connect(gate.push_site)
        wire.deliver(push)
        self.assert_by_the_lane(wire.take())
        self.assertEqual(read_frames(client.take()), [Frame(TEXT, b"hello")])
        wire = gate.connect()
        wire.deliver(push)
        self.assertEqual(self.only(wire).status, 405)
        self.assertEqual(client.take(), b"")

    def test_the_client_closes_while_the_body_is_held(self) -> None:
        """404, as on the other road."""
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


class DeadlineTests(LaneTestCase):
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
        self.gate.push_site.idle = Queue(2, Channel.dawdles)
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
        gate = Gate(FAST_LANES="on", WS_TIMEOUT="600000")
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

    def test_no_limit(self) -> None:
        """Then silence ends a held body, and bytes keep it alive."""
        gate = Gate(FAST_LANES="on", WS_TIMEOUT="0")
        gate.open()
        wire = gate.connect()
        push = http_request("PUT", f"/{gate.key}", b"hello")
        wire.deliver(push[:-5])
        for byte in (b"h", b"e", b"l", b"l"):
            gate.clock.advance(IDLE_TIMEOUT - 1)
            wire.deliver(byte)
        gate.clock.advance(IDLE_TIMEOUT - 1)
        self.assertFalse(wire.disconnecting)
        gate.clock.advance(1)
        self.assertTrue(wire.disconnecting)


class MemoryTests(LaneTestCase):
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


# Both roads, side by side

OPEN, OTHER, EARLY = (key_of(number).encode("ascii") for number in (1, 2, 3))
TARGETS = st.sampled_from(
    [b"/" + OPEN, b"/" + OPEN, b"/" + OTHER, b"/a/b/" + OTHER, b"//" + OPEN, b"/" + EARLY, b"/unknown"]
)
ODD_TARGETS = st.sampled_from(
    [b"/%b?a=b" % OPEN, b"/%b?" % OPEN, b"http://h/" + OPEN, b"/%b/" % OPEN, b"/%b#a" % OPEN, b"/#/" + OPEN, b"*", b"/",
     OPEN, b"/a\\b/" + OPEN, b"/%2f" + OPEN, b'/"/' + OPEN, b"/\xc3/" + OPEN, b"/a b/" + OPEN, b"h:443", b"/?/" + OPEN]
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=12).map(str.encode),
    st.sampled_from(
        [b"", b"\r\n", b"\r\n\r\n", b"PUT /", b"a" * 100, b"a" * 101, b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
    ),
)
FIELDS = st.sampled_from(
    [b"Content-Type: text/plain", b"Content-Type: application/octet-stream", b"content-type: application/json",
     b"Connection: keep-alive", b"CONNECTION:Keep-Alive", b"User-Agent: a", b"Accept:", b"X: \ta\t", b"Cookie: a=b; c",
     b"Authorization: Bearer a", b"Content-Type:", b"If-None-Match: *", b"Content-Range: bytes 0-1/2"]
)  # fmt: skip
ODD_FIELDS = st.sampled_from(
    [b"Connection: close", b"Connection: te, close", b"Connection:", b"Transfer-Encoding: chunked",
     b"transfer-encoding: identity", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\r\n chunked", b"TE: trailers",
     b"Expect: 100-continue", b"Expect: a", b"Upgrade: websocket", b"Upgrade: h2c", b"Content-Encoding: gzip",
     b"Trailer: a", b"Ws-Confirm: 1000", b"Idempotency-Key: a", b"Content-Length: 5", b"Content-Length: +5",
     b"Content-Length: -1", b"Content-Length:", b"Content-Length: 5, 5", b"Content-Length: " + b"9" * 20,
     b"Content-Length: " + b"9" * 12, b"Content-Length: 0x5", b"Content-Length: 101", b"Content-Length : 1",
     b"Content-Length: 1\r\n 0", b"content-length: 0", b"Host: a", b"host:", b"Host: a b", b"Content-Type: a/b",
     b"Content-Type: text/plain; charset=latin-1", b"Content-Type: \xe9", b" folded", b"A: b\r\n\tc", b"no colon", b":",
     b"A: \x00", b"A: b\rC: d", b"A: b\nC: d", b"A: b\n", b"\r", b"A: " + b"a" * 4096, b"A: " + b"a" * 20000,
     b"\r\n".join([b"a:"] * 110), b"\r\n".join([b"a:"] * 510), b"A b: c", b"\x7f: a", b"A: \x7f", b"A:\x0bb"]
)  # fmt: skip


def put(target: bytes, fields: list[bytes], body: bytes) -> bytes:
    """:returns: a push"""
    lines = [b"PUT %b HTTP/1.1" % target, b"Host: h", *fields, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def near_put(method: bytes, target: bytes, version: bytes, fields: list[bytes], body: bytes) -> bytes:
    """:returns: what looks like a push; what it says of its length is among the fields, or nowhere"""
    return b"\r\n".join([b"%b %b %b" % (method, target, version), *fields]) + b"\r\n\r\n" + body


PUTS = st.builds(put, TARGETS, st.lists(FIELDS, max_size=3), BODIES)
NEAR_PUTS = st.one_of(
    st.builds(put, st.one_of(TARGETS, ODD_TARGETS), st.lists(st.one_of(FIELDS, ODD_FIELDS), max_size=3), BODIES),
    st.builds(
        near_put,
        st.sampled_from([b"PUT", b"PUT", b"PUT", b"put", b"POST", b"PUT ", b"PU", b"GET"]),
        st.one_of(TARGETS, ODD_TARGETS),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.1 ", b"http/1.1", b""]),
        st.lists(
            st.one_of(FIELDS, ODD_FIELDS, st.sampled_from([b"Host: h", b"Content-Length: 1", b"Content-Length: 20"])),
            max_size=5,
        ),
        BODIES,
    ),
)
CHUNKED = b"Host: h\r\nTransfer-Encoding: chunked\r\n\r\n"
OTHERS = st.sampled_from(
    [
        b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % OPEN,
        b"HEAD /%b HTTP/1.1\r\nHost: h\r\n\r\n" % OTHER,
        b"HEAD /unknown-unknown-unknown-unk HTTP/1.1\r\nHost: h\r\n\r\n",
        b"DELETE /%b?code=4001 HTTP/1.1\r\nHost: h\r\n\r\n" % OTHER,
        b"DELETE /%b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" % EARLY,
        b"OPTIONS /%b HTTP/1.1\r\nHost: h\r\n\r\n" % OPEN,
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PUT /%b HTTP/1.1\r\n%b3\r\nabc\r\n0\r\n\r\n" % (OPEN, CHUNKED),
        b"PUT /%b HTTP/1.1\r\n%b1\r\na" % (OPEN, CHUNKED),
        b"PUT /%b HTTP/1.1\r\nContent-Length: 4\r\n%b0\r\n\r\n" % (OPEN, CHUNKED),
        b"PUT /%b HTTP/1.1\r\nHost: h\r\n" % OPEN,
        b"PUT /%b HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n" % OPEN,
        handshake_request("/chat"),
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"PUT ",
        b"\x16\x03\x01",
    ]
)
STREAMS = st.lists(st.one_of(PUTS, PUTS, NEAR_PUTS, OTHERS, st.binary(max_size=12)), min_size=1, max_size=6).map(
    b"".join
)
PLAIN_STREAMS = st.lists(st.one_of(PUTS, PUTS, PUTS, OTHERS), min_size=1, max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)
EVENTS = st.lists(
    st.sampled_from(["", "", "", "a second", "many seconds", "a minute", "leave", "stall", "flow", "accept"]),
    max_size=8,
)

_HEAD = re.compile(rb"HTTP/1\.1 [0-9]{3} .*?\r\n\r\n", re.DOTALL)


def normalised(data: bytes) -> bytes:
    """:returns: answers without Date and Server, which twisted.web adds, and with the header lines sorted"""

    def sort(match: re.Match[bytes]) -> bytes:
        status, *lines = match[0].split(b"\r\n")[:-2]
        lines = sorted(line for line in lines if not line.lower().startswith((b"date:", b"server:")))
        return b"\r\n".join([status, *lines]) + b"\r\n\r\n"

    return _HEAD.sub(sort, data)


class Side:
    """A gateway with two clients and one that is about to be, and a pusher.

    :param fast_lanes: whether it has the lane
    """

    def __init__(self, fast_lanes: str) -> None:
        self.gate = Gate(FAST_LANES=fast_lanes, WS_MAX_MESSAGE=str(MAX_MESSAGE), WS_MAX_BUFFER="200")
        self.clients = [self.gate.open(), self.gate.open(), self.gate.begin()]
        self.post = self.gate.agent.last
        self.pusher = self.gate.connect()
        self._events: dict[str, Callable[[], object]] = {
            "": lambda: None,
            "a second": lambda: self.gate.clock.advance(1),
            "many seconds": lambda: self.gate.clock.advance(HEAD_TIMEOUT - 1),
            "a minute": lambda: self.gate.clock.pump([20, 10, 20, 10]),
            "leave": self.clients[0].end,
            "stall": self.clients[1].stall,
            "flow": self.clients[1].flow,
            "accept": self._accept,
        }

    def _accept(self) -> None:
        # It may have taken too long.
        if not self.post.result.called:
            self.post.answer()

    def end(self) -> None:
        """Leave nothing behind that waits, for the collector to meet in the middle of another test."""
        for wire in (self.pusher, *self.clients):
            wire.end()
        while any(not call.result.called for call in self.gate.agent.calls):
            self.gate.clock.advance(HEAD_TIMEOUT)

    def step(self, data: bytes, event: str) -> object:
        """:returns: all that can be seen from outside after some bytes and an event"""
        seen = []
        if data:
            self.pusher.deliver(data)
            self.gate.turn()
            seen.append(self._seen())
        self._events[event]()
        self.gate.turn()
        return [*seen, self._seen()]

    def _seen(self) -> object:
        pusher = self.pusher
        return (
            normalised(pusher.take()),
            (pusher.half_closed, pusher.disconnecting, pusher.aborted, pusher.over),
            [normalised(client.take()) for client in self.clients],
            self.gate.agent.methods,
        )


class DifferentialTests(SynchronousTestCase):
    """A gateway with the lane and one without, side by side: step by step nobody sees a difference.

    Not the pushers, but for Date and Server and the order of header lines; what is compared are whole answers, not
    statuses and codes only, and whether and how the connection ends. Not the clients, to the byte. Not the API.
    There is no other difference.
    """

    def setUp(self) -> None:
        """Have what waits behind refusals wait for the next turn only: on tenths of a second the roads may differ."""
        self.patch(turns, "REFUSED_PAUSE", 0)

    def tearDown(self) -> None:
        self.flushLoggedErrors()

    def check_equal(self, stream: bytes, cuts: Sequence[int], events: Sequence[str]) -> None:
        """Let both go through the same."""
        fast, plain = Side("on"), Side("off")
        for data, event in zip_longest(slices(stream, cuts), events):
            self.assertEqual(fast.step(data or b"", event or ""), plain.step(data or b"", event or ""), (data, event))
        for event in ("many seconds", "a second", "a second", "a second", "a minute"):
            self.assertEqual(fast.step(b"", event), plain.step(b"", event), event)
        fast.end()
        plain.end()

    @moderately
    @given(PLAIN_STREAMS, CUTS, EVENTS)
    def test_pushes(self, stream: bytes, cuts: list[int], events: list[str]) -> None:
        """Plain pushes among other requests."""
        self.check_equal(stream, cuts, events)

    @moderately
    @given(STREAMS, CUTS, EVENTS)
    def test_anything(self, stream: bytes, cuts: list[int], events: list[str]) -> None:
        """Odd fields, attempts at smuggling, noise."""
        self.check_equal(stream, cuts, events)

    @moderately
    @given(st.lists(PUTS, min_size=1, max_size=4).map(b"".join), EDITS, CUTS)
    def test_edited(self, stream: bytes, edits: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
        """Pushes with a byte or two that are wrong."""
        self.check_equal(edited(stream, edits), cuts, ())

    def test_each_odd_field(self) -> None:
        """One by one, in front of a push that must not be smuggled."""
        for field in ODD_FIELDS.elements:  # type: ignore[attr-defined]  # SampledFromStrategy has them
            self.check_equal(put(b"/" + OPEN, [field], b"abc") + put(b"/" + OTHER, [], b"next"), (), ())

    def test_lanes_are_there_and_not_there(self) -> None:
        """What is compared are two roads indeed."""
        sides = [Side("on"), Side("off")]
        for side in sides:
            side.pusher.deliver(put(b"/" + OPEN, [], b"abc"))
        self.assertEqual([b"Date:" in side.pusher.take() for side in sides], [False, True])
        self.assertIsInstance(sides[0].gate.lane, PushLane)
        for side in sides:
            side.end()
