"""How many connections there may be: 503 with Retry-After before the API is asked (protocol §4)."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import Gate, Wire, close_frame, handshake_request, http_request, read_answer
from wsaas.pushes.resource import PushResource


class AdmissionTests(SynchronousTestCase):
    """Handshakes at a gateway that is full in one way or another."""

    def gate_with(self, **settings: str) -> Gate:
        """:returns: a gateway whose API answers only when told to"""
        self.gate = Gate(None, **settings)
        return self.gate

    def assert_later(self) -> None:
        """Further clients get 503 and Retry-After; the API hears nothing of them."""
        calls = len(self.gate.agent.calls)
        wire = self.gate.begin()
        answer, rest = read_answer(wire.take())
        self.assertEqual((answer.status, rest, len(self.gate.agent.calls)), (503, b"", calls))
        self.assertIn(answer.header("Retry-After"), ("2", "5"))
        wire.end()

    def test_numbers_are_for_the_log(self) -> None:
        """A stranger is told that there are too many, not how many, nor what is full; the log has both."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for setting, value, status, said in (
            ("WS_MAX_CONNECTIONS", "2", 503, "2 clients are connected (WS_MAX_CONNECTIONS)"),
            ("WS_MAX_PER_ADDRESS", "2", 429, "2 clients of this address are connected (WS_MAX_PER_ADDRESS)"),
        ):
            gate = self.gate_with(**{setting: value})
            gate.open()
            gate.open()
            wire = gate.begin()
            answer, _ = read_answer(wire.take())
            self.assertEqual(answer.status, status)
            self.assertNotRegex(answer.body, b"[0-9]|WS_MAX_CONNECTIONS")
            self.assertTrue(formatEvent(events[-1]).endswith(said), events[-1])

    def test_max_connections(self) -> None:
        """As many as are allowed, then no more, until one leaves."""
        gate = self.gate_with(WS_MAX_CONNECTIONS="2")
        wires = [gate.open(), gate.open()]
        self.assert_later()
        wires[0].deliver(close_frame(1000))
        gate.turn()
        gate.agent.last.answer()
        gate.open()
        self.assert_later()

    def test_handshakes_that_wait_count(self) -> None:
        """Or they would be too many when the API grants them."""
        gate = self.gate_with(WS_MAX_CONNECTIONS="2")
        wire = gate.begin()
        gate.open()
        self.assert_later()
        gate.agent.calls[0].answer(403)
        self.assertEqual(read_answer(wire.take())[0].status, 403)
        gate.open()

    def test_deletes_that_are_not_settled(self) -> None:
        """Who is gone makes room, but not without end."""
        gate = self.gate_with(WS_MAX_CONNECTIONS="1")
        for _ in range(2):
            wire = gate.open()
            before = len(gate.agent.calls)
            wire.end()
        self.assertEqual(len(gate.agent.calls), before + 1)
        self.assert_later()
        gate.agent.last.answer()
        gate.open()

    def test_handshakes_in_flight(self) -> None:
        """256 of them wait for the API with one slot; with more slots, four for each."""
        for slots, most in (("1", 256), ("100", 400)):
            gate = self.gate_with(API_MAX_REQUESTS=slots)
            wires = [gate.begin() for _ in range(most)]
            self.assertEqual((gate.totals.asking, {wire.value() for wire in wires}), (most, {b""}))
            self.assert_later()
            gate.agent.calls[0].answer()
            self.assertEqual(gate.totals.asking, most - 1)
            self.assertEqual(gate.begin().value(), b"")

    def test_asking_ends(self) -> None:
        """However the handshake ends."""
        gate = self.gate_with()
        gate.open()
        gate.begin()
        gate.agent.last.answer(500)
        gate.begin()
        gate.agent.last.fail(ZeroDivisionError())
        self.flushLoggedErrors(ZeroDivisionError)
        left = gate.begin()
        left.end()
        self.assertEqual(gate.totals.asking, 1)
        gate.agent.last.answer()
        self.assertEqual(gate.totals.asking, 0)

    def test_too_much_waits(self) -> None:
        """For clients, or for the API."""
        gate = self.gate_with()
        for budget in (gate.budgets.outgoing, gate.budgets.incoming):
            budget.used += budget.limit
            self.assert_later()
            budget.used -= budget.limit
        gate.open()

    def test_malformed_handshakes_stay_malformed(self) -> None:
        """The answer that does not change when there is room again."""
        gate = self.gate_with(WS_MAX_CONNECTIONS="1")
        gate.open()
        wire = gate.connect()
        wire.deliver(handshake_request(without=("Sec-WebSocket-Key",)))
        self.assertEqual(read_answer(wire.take())[0].status, 400)

    def test_pushes_go_on(self) -> None:
        """They are what empties the place."""
        gate = self.gate_with(WS_MAX_CONNECTIONS="1")
        gate.open()
        self.assertEqual(gate.ask("PUT", f"/{gate.key}", b"hello").status, 200)
        self.assertIsInstance(gate.pushes, PushResource)


class HeldTests(SynchronousTestCase):
    """What waits for a handshake to end counts for what waits for clients."""

    def setUp(self) -> None:
        """Begin a handshake."""
        self.gate = Gate()
        self.wire: Wire = self.gate.begin()
        self.used = self.gate.budgets.outgoing

    def push(self, size: int = 1000) -> int:
        """:returns: the status"""
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", f"/{self.gate.key}", b"x" * size))
        return read_answer(wire.take())[0].status

    def test_until_it_is_open(self) -> None:
        """Then the kernel has it."""
        self.assertEqual(self.push(), 202)
        self.assertGreater(self.used.used, 1000)
        self.gate.agent.calls[0].answer()
        self.assertEqual(self.used.used, 0)

    def test_until_it_is_refused(self) -> None:
        """Then it is forgotten."""
        self.push()
        self.gate.agent.calls[0].answer(403)
        self.assertEqual(self.used.used, 0)

    def test_until_the_client_has_left(self) -> None:
        """And the API has answered."""
        self.push()
        self.wire.end()
        self.gate.agent.calls[0].answer()
        self.assertEqual(self.used.used, 0)

    def test_no_room(self) -> None:
        """503, as for a client that does not read."""
        self.used.limit = 1500
        self.assertEqual([self.push() for _ in range(3)], [202, 202, 503])
