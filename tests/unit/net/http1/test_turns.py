"""How much of one connection is answered before others have their turn."""

from __future__ import annotations

from tests.gate import http_request, read_answers
from tests.unit.net.http1.test_server import ChannelTestCase
from wsaas.net.http1.connection import PER_TURN, REFUSED, REFUSED_PAUSE
from wsaas.net.http1.messages import Response


class TurnTests(ChannelTestCase):
    """A connection full of requests gets some answers, then it is somebody else's turn."""

    def test_so_many_in_a_turn(self) -> None:
        """In order, nothing lost."""
        wire = self.connect()
        expected = [b"%d" % number for number in range(3 * PER_TURN - 1)]
        wire.deliver(b"".join(http_request("PUT", "/x", body) for body in expected))
        self.assertEqual([answer.body for answer in read_answers(wire.take())], expected[:PER_TURN])
        self.assertEqual(wire.producerState, "paused")
        # In memory, a call that is due at once is a part of the same turn.
        self.clock.advance(0)
        self.assertEqual([answer.body for answer in read_answers(wire.take())], expected[PER_TURN:])
        self.assertEqual(wire.producerState, "producing")
        wire.deliver(http_request("PUT", "/x", b"next"))
        self.assertEqual(self.only(wire).body, b"next")

    def test_after_a_refusal(self) -> None:
        """Whoever goes on without having read it waits for longer; whoever has read it does not wait."""
        wire = self.connect()
        few = PER_TURN // REFUSED
        wire.deliver(http_request("GET", "/refused") * 3 * few)
        for _ in range(3):
            self.assertEqual([answer.status for answer in read_answers(wire.take())], [403] * few)
            self.clock.advance(REFUSED_PAUSE / 2)
            self.assertEqual(wire.take(), b"")
            self.clock.advance(REFUSED_PAUSE / 2)
        for _ in range(10):
            wire.deliver(http_request("GET", "/refused"))
            self.assertEqual(self.only(wire).status, 403)
        wire.deliver(http_request("PUT", "/x", b"a"))
        self.assertEqual(self.only(wire).status, 200)

    def test_refusals_among_others(self) -> None:
        """A broadcast meets clients that have gone: what is behind those has the next turn."""
        wire = self.connect()
        few = PER_TURN // REFUSED
        wire.deliver((http_request("GET", "/refused") * few + http_request("PUT", "/x", b"a")) * 3)
        self.clock.advance(REFUSED_PAUSE)
        self.clock.advance(REFUSED_PAUSE)
        wire = self.connect()
        wire.deliver((http_request("PUT", "/x", b"a") + http_request("GET", "/refused") * few) * 20)
        self.clock.advance(0)
        self.assertEqual(len(read_answers(wire.take())), 20 * (few + 1))

    def test_what_comes_meanwhile(self) -> None:
        """TLS may hand over what it had decrypted already: it is appended."""
        wire = self.connect()
        refused = http_request("GET", "/refused") * (PER_TURN // REFUSED)
        whole = refused + http_request("PUT", "/x", b"2") + http_request("PUT", "/x", b"3")
        wire.deliver(whole[:-70])
        wire.protocol.dataReceived(whole[-70:])
        self.assertEqual(len(read_answers(wire.take())), PER_TURN // REFUSED)
        self.clock.advance(REFUSED_PAUSE)
        self.assertEqual([answer.body for answer in read_answers(wire.take())], [b"2", b"3"])

    def test_answers_that_took_a_while(self) -> None:
        """What came behind the last of them meanwhile waits as well."""
        wire = self.connect()
        few = PER_TURN // REFUSED
        wire.deliver(http_request("GET", "/refused") * (few - 1) + http_request("PUT", "/wait", b"1"))
        wire.deliver(http_request("GET", "/refused") * few + http_request("PUT", "/x", b"2"))
        wire.take()
        self.rules.waiting[0].callback(Response(200, (), b"1"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200, *[403] * few])
        self.clock.advance(REFUSED_PAUSE)
        self.assertEqual(self.only(wire).body, b"2")

    def test_refusals_that_took_a_while(self) -> None:
        """They count as others do; nothing but them was answered."""
        wire = self.connect()
        wire.deliver((http_request("GET", "/wait") * (PER_TURN // REFUSED)) + http_request("PUT", "/x", b"a"))
        while self.rules.waiting:
            self.rules.waiting.pop().callback(Response(403))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403] * (PER_TURN // REFUSED))
        self.clock.advance(REFUSED_PAUSE / 2)
        self.assertEqual(wire.take(), b"")
        self.clock.advance(REFUSED_PAUSE / 2)
        self.assertEqual(self.only(wire).status, 200)

    def test_the_end_meanwhile(self) -> None:
        """Nothing is left of who goes away."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/refused") * (PER_TURN // REFUSED + 1))
        self.assertEqual(wire.producerState, "paused")
        wire.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
