"""What is counted: values, attempts, ends; and that every part of the gateway counts."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import TEXT, Gate, close_frame, frame, http_request, read_answer
from wsaas.connections.messages import Close, ClosedBy, End
from wsaas.connections.totals import Counts
from wsaas.counts import FAILURES, Attempts, Histogram
from wsaas.errors import CallbackFailed, NoAnswer, NoSlot, NotSent, TimedOut, Unusable


class HistogramTests(SynchronousTestCase):
    """Values between bounds."""

    def test_bounds(self) -> None:
        """A value on a bound belongs below it, as Prometheus has it (``le``)."""
        histogram = Histogram([1, 2.5])
        for value in (0, 0.5, 1, 1.1, 2.5, 2.6, 100):
            histogram.add(value)
        self.assertEqual(histogram.counts, [3, 2, 2])
        self.assertAlmostEqual(histogram.total, 107.7)


class AttemptsTests(SynchronousTestCase):
    """What came of attempts."""

    def test_answers(self) -> None:
        """By the class of their status, whatever a server makes up."""
        attempts = Attempts()
        for status in (200, 204, 404, 503, 599, 99, 999, 1000):
            attempts.answered(status, 0.1)
        self.assertEqual(attempts.answers, [2, 0, 2, 0, 1, 2, 0, 0, 0, 1])
        self.assertEqual(sum(attempts.seconds.counts), 8)
        self.assertAlmostEqual(attempts.seconds.total, 0.8)

    def test_failures(self) -> None:
        """By what happened; an unexpected exception is a fault of the gateway."""
        attempts = Attempts()
        for error in (NotSent(""), NoAnswer(""), TimedOut(""), Unusable(""), ValueError(), NoSlot(""), TimedOut("")):
            attempts.failed(error, 1)
        counts = {"not_sent": 1, "no_answer": 1, "timed_out": 2, "unusable": 1, "fault": 2}
        self.assertEqual(attempts.failures, counts)
        self.assertEqual(set(counts), set(FAILURES))

    def test_every_failure_has_a_word(self) -> None:
        """Of its own."""

        def tree(kind: type[CallbackFailed]) -> list[type[CallbackFailed]]:
            return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]

        kinds = [kind.kind for kind in tree(CallbackFailed) if "kind" in vars(kind)]
        self.assertEqual(len(kinds), len(set(kinds)))
        self.assertLess(set(FAILURES), set(kinds))


class EndsTests(SynchronousTestCase):
    """Ends, by code and cause."""

    def test_codes_that_anybody_may_make_up(self) -> None:
        """They are counted as one."""
        counts = Counts()
        for code in (1000, 1005, 1006, 1015, 3000, 4001, 4999, 1004, 2500):
            counts.ended(End(Close(code), ClosedBy.CLIENT), 2)
        self.assertEqual(counts.ends["other", "client"], 5)
        self.assertEqual({code for code, _ in counts.ends}, {"1000", "1005", "1006", "1015", "other"})
        self.assertEqual(counts.undelivered, 18)


class GateTestCase(SynchronousTestCase):
    """The gateway's parts in memory."""

    def setUp(self) -> None:
        """Put them together."""
        self.gate = self.make()

    def make(self, **settings: str) -> Gate:
        """Put others together."""
        self.gate = Gate(None, **settings)
        self.counts = self.gate.totals.counts
        return self.gate

    def assertNow(self, authorising: int, opened: int, closing: int) -> None:
        """So many connections are in these states."""
        left = len(self.gate.registry) - self.gate.totals.asking - self.counts.open
        self.assertEqual((self.gate.totals.asking, self.counts.open, left), (authorising, opened, closing))


class StateTests(GateTestCase):
    """How many connections are in which state."""

    def test_a_life(self) -> None:
        """Asked for, granted, closed by the client, DELETE settled."""
        wire = self.gate.begin()
        self.assertNow(1, 0, 0)
        self.gate.agent.last.answer()
        self.assertNow(0, 1, 0)
        wire.deliver(close_frame(1000))
        self.assertNow(0, 0, 1)
        self.gate.turn()
        self.gate.agent.last.answer()
        self.assertNow(0, 0, 0)
        self.assertEqual(dict(self.counts.ends), {("1000", "client"): 1})
        self.assertEqual(dict(self.gate.upgrade.answers), {101: 1})

    def test_refused(self) -> None:
        """By the API, which needs no DELETE, or by a failure of the POST, which does."""
        self.gate.begin()
        self.gate.agent.last.answer(403)
        self.assertNow(0, 0, 0)
        self.gate.begin()
        self.gate.agent.last.answer(500)
        self.assertNow(0, 0, 1)
        self.gate.agent.last.answer()
        self.assertNow(0, 0, 0)
        self.assertEqual(dict(self.gate.upgrade.answers), {403: 1, 502: 1})
        self.assertEqual(dict(self.gate.upgrade.refusals), {"denied": 1, "unsuccessful": 1})

    def test_malformed(self) -> None:
        """The API is not asked."""
        self.gate.begin("/", ("Sec-WebSocket-Protocol", "a, a"))
        self.assertEqual(dict(self.gate.upgrade.answers), {400: 1})
        self.assertEqual(dict(self.gate.upgrade.refusals), {"malformed": 1})

    def test_the_client_leaves_before_the_answer(self) -> None:
        """There is no answer to it."""
        self.gate.begin().end()
        self.assertNow(1, 0, 0)
        self.gate.agent.last.answer()
        self.assertNow(0, 0, 1)
        self.gate.agent.last.answer()
        self.assertNow(0, 0, 0)
        self.assertEqual(dict(self.gate.upgrade.answers), {0: 1})
        self.assertEqual(dict(self.gate.upgrade.refusals), {"left": 1})

    def test_shutting_down(self) -> None:
        """Before the API is asked, and while it thinks."""
        self.gate.begin()
        self.gate.upgrade.draining = True
        for connection in self.gate.registry:
            connection.shut_down()
        self.gate.agent.last.answer()
        self.gate.begin()
        self.assertEqual(self.gate.upgrade.refusals["draining"], 2)
        self.assertNow(0, 0, 1)

    def test_closed_from_inside_the_post(self) -> None:
        """It is closing from the moment it is open."""
        self.gate.begin()
        self.gate.ask("DELETE", f"/{self.gate.key}")
        self.gate.agent.calls[0].answer()
        self.assertNow(0, 0, 1)

    def test_lost(self) -> None:
        """Without a Close frame."""
        wire = self.gate.open()
        wire.end()
        self.assertNow(0, 0, 1)
        self.gate.agent.last.answer()
        self.assertEqual(dict(self.counts.ends), {("1006", "client"): 1})

    def test_not_read(self) -> None:
        """What the client sends waits for the API; then it is gone, or read again."""
        for over in (True, False):
            self.make(WS_MAX_MESSAGE="100", WS_MAX_BUFFER="200")
            wire = self.gate.open()
            wire.deliver(frame(TEXT, b"x" * 100) * 2)
            self.assertEqual(self.counts.paused, 1)
            if over:
                wire.end()
            else:
                self.gate.agent.last.answer()
                self.gate.turn()
                self.gate.agent.last.answer()
            self.assertEqual(self.counts.paused, 0)

    def test_a_protocol_error(self) -> None:
        """It is not read until the message on its way is answered."""
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"x") + frame(TEXT, b"\xff"))
        self.assertEqual(self.counts.paused, 1)
        self.gate.agent.last.answer()
        self.assertEqual(self.counts.paused, 0)
        self.assertNow(0, 0, 1)


class TrafficTests(GateTestCase):
    """Messages, callbacks and pushes."""

    def push(self, method: str, target: str, body: bytes | None = None) -> int:
        """:returns: the status of a push's answer"""
        return self.gate.ask(method, target, body).status

    def test_messages(self) -> None:
        """In both directions, with their bytes; a reply is one to the client."""
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"hello"))
        self.gate.agent.last.answer(200, b"hi!", ("Ws-Reply", "text"))
        self.push("PUT", f"/{self.gate.key}", b"pushed")
        self.assertEqual((self.counts.messages_in, self.counts.bytes_in), (1, 5))
        self.assertEqual((self.counts.messages_out, self.counts.bytes_out), (2, 9))
        wire.deliver(frame(TEXT, b"no"))
        self.gate.agent.last.answer(404)
        self.assertEqual((self.counts.messages_in, self.counts.rejected), (2, 1))

    def test_undelivered(self) -> None:
        """What was dropped when the API closed."""
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3"))
        self.push("DELETE", f"/{self.gate.key}?code=4001")
        self.gate.agent.last.answer()
        wire.end()
        self.assertEqual(self.counts.undelivered, 2)
        self.assertEqual(dict(self.counts.ends), {("other", "api"): 1})

    def test_callbacks(self) -> None:
        """By method and result; how long they took, waiting for a slot not counted."""
        self.make(API_MAX_REQUESTS="1")
        first = self.gate.open()
        self.gate.open()
        first.deliver(frame(TEXT, b"x"))
        self.gate.clock.advance(2)
        self.assertEqual((self.gate.slots.held_by("PUT"), self.gate.slots.waiting_by("PUT")), (1, 0))
        first.end()
        self.gate.begin()
        self.assertEqual((self.gate.slots.held_by("POST"), self.gate.slots.waiting_by("POST")), (0, 1))
        self.gate.clock.advance(1)
        self.gate.agent.last.answer(503)
        self.gate.clock.advance(0.25)
        self.gate.agent.last.fail(ConnectionLost())
        attempts = self.gate.api.client.attempts
        self.assertEqual(attempts["PUT"].answers[5], 1)
        self.assertAlmostEqual(attempts["PUT"].seconds.total, 3)
        self.assertEqual((attempts["POST"].answers[2], attempts["POST"].failures["no_answer"]), (2, 1))
        self.assertAlmostEqual(attempts["POST"].seconds.total, 0.25)

    def test_pushes(self) -> None:
        """By method and status; an unknown method is not counted by its name."""
        self.gate.begin()
        key = self.gate.key
        self.push("PUT", f"/{key}", b"early")
        self.gate.agent.last.answer()
        self.push("PUT", f"/{key}", b"text")
        self.push("PUT", f"/{key}", b"\xff")
        self.push("PUT", "/" + "x" * len(key), b"")
        self.push("GET", f"/{key}")
        self.push("HEAD", f"/{key}")
        self.push("DELETE", f"/{key}?code=1")
        self.push("POST", f"/{key}", b"")
        found = {method: dict(answers) for method, answers in self.gate.pushes.answers.items()}
        self.assertEqual(
            found,
            {
                b"PUT": {202: 1, 200: 1, 400: 1, 404: 1},
                b"GET": {200: 1},
                b"HEAD": {200: 1},
                b"DELETE": {400: 1},
                b"other": {405: 1},
            },
        )

    def test_confirmed_pushes(self) -> None:
        """When the answer is known; none is, if the pusher is gone by then."""
        self.gate.open()
        pushers = [self.gate.connect() for _ in range(2)]
        for wire in pushers:
            wire.deliver(http_request("PUT", f"/{self.gate.key}", b"x", ("Ws-Confirm", "1000")))
        self.assertEqual(dict(self.gate.pushes.answers[b"PUT"]), {})
        pushers[0].end()
        self.gate.clock.advance(1)
        self.assertEqual(dict(self.gate.pushes.answers[b"PUT"]), {202: 1})

    def test_requests_that_are_not_read_to_the_end(self) -> None:
        """Refused by their head, malformed, or too late."""
        self.assertEqual(self.gate.ask("GET", "/").status, 426)
        for data in (b"nonsense\r\n\r\n", b""):
            wire = self.gate.connect()
            wire.deliver(data)
            self.gate.clock.advance(30)
            read_answer(wire.take())
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", "/x", b"y" * 200000))
        self.assertEqual(dict(self.gate.site.refused), {426: 1, 400: 1, 408: 1, 404: 1})
