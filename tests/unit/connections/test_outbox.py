"""What goes to one client: held during the handshake, refused or waiting for room, proven by pongs (protocol §3)."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import MemoryPeer
from tests.unit.connections.test_connection import IDENTITY, MAX_BUFFER, TIMEOUT, UPTIME, ConnectionCase, sized, text
from wsaas.connections import confirmations as confirmation
from wsaas.connections.connection import State
from wsaas.connections.inbox import MAX_WAITING
from wsaas.connections.keepalive import Keepalive
from wsaas.connections.messages import Close, ClosedBy, Grant, Traffic
from wsaas.connections.outbox import MAX_HELD, Outbox
from wsaas.connections.totals import Totals
from wsaas.errors import Denied, NoAnswer, NotPresentError, NotSent, TooManyWaitError, TooSlowError
from wsaas.limits import OVERHEAD


class OutboxTests(SynchronousTestCase):
    """The outbox by itself."""

    def setUp(self) -> None:
        """Make one, before the end of the handshake."""
        self.clock = Clock()
        self.totals = Totals()
        self.traffic = Traffic()
        self.outbox = Outbox(IDENTITY, self.traffic, Keepalive(0), MAX_BUFFER, self.totals, self.clock)
        self.peer = MemoryPeer(fast=False)
        self.checks = self.unblockings = 0

    def check_soon(self) -> None:
        """Count how often a look is asked for."""
        self.checks += 1

    def unblocked(self) -> None:
        """Count how often the next PUT may start, as a reply no longer waits."""
        self.unblockings += 1

    @property
    def used(self) -> int:
        """What counts as kept for clients."""
        return self.totals.budgets.outgoing.used

    def test_what_is_held_is_counted(self) -> None:
        """With what it costs besides, until it goes out or is forgotten."""
        for end in (lambda: self.outbox.open(self.peer, self), self.outbox.forget, self.outbox.lost):
            self.outbox.push(sized(100))
            self.outbox.push(sized(0))
            self.assertEqual((self.used, self.outbox.buffered), (100 + 2 * OVERHEAD, 100))
            end()
            self.assertEqual(self.used, 0)
            self.outbox.lost()
        self.assertEqual(len(self.peer.messages), 2)

    def test_nothing_is_held_where_too_much_is(self) -> None:
        """Of all clients together."""
        self.totals.budgets.outgoing.limit = 0
        self.assertRaises(TooSlowError, self.outbox.push, text("a"))
        self.assertEqual(self.used, 0)

    def test_shut(self) -> None:
        """Pushes are refused; what was taken goes out all the same."""
        self.outbox.push(text("a"))
        self.outbox.shut = True
        self.assertRaises(NotPresentError, self.outbox.push, text("b"))
        self.outbox.open(self.peer, self)
        self.assertEqual(self.peer.messages, [text("a")])

    def test_room(self) -> None:
        """To the byte; and a crowded peer has none, unless it is empty."""
        self.outbox.open(self.peer, self)
        self.peer.buffered = MAX_BUFFER - 1
        self.assertRaises(TooSlowError, self.outbox.push, text("ab"))
        self.assertTrue(self.outbox.push(text("a")))
        self.peer.buffered, self.peer.crowded = 1, True
        self.assertRaises(TooSlowError, self.outbox.push, text(""))
        self.peer.buffered = 0
        self.assertTrue(self.outbox.push(text("")))

    def test_a_look_is_asked_for_when_something_begins_to_wait(self) -> None:
        """Not for what waits behind it."""
        self.outbox.open(self.peer, self)
        self.outbox.push(text("a"))
        self.outbox.push(text("b"))
        self.assertEqual(self.checks, 1)
        self.peer.flush()
        self.outbox.push(text("c"))
        self.assertEqual(self.checks, 2)

    def test_a_reply_waits(self) -> None:
        """For room; nothing overtakes it, and it is counted meanwhile."""
        self.outbox.open(self.peer, self)
        self.peer.buffered = MAX_BUFFER
        self.outbox.reply(text("reply"))
        self.assertEqual((self.outbox.waiting, self.used), (text("reply"), 5))
        self.assertFalse(self.outbox.drained())
        self.assertEqual((self.outbox.waiting, self.used), (text("reply"), 5))
        self.peer.flush()
        self.assertRaises(TooSlowError, self.outbox.push, text("a"))
        self.assertTrue(self.outbox.drained())
        self.assertFalse(self.outbox.drained())
        self.assertEqual((self.outbox.waiting, self.used), (None, 0))
        self.outbox.push(text("a"))
        self.assertEqual(self.peer.messages, [text("reply"), text("a")])
        self.assertEqual((self.traffic.messages_out, self.traffic.bytes_out), (2, 6))

    def test_a_reply_that_waits_in_the_end(self) -> None:
        """It goes before a Close, and nowhere after the end."""
        self.outbox.open(self.peer, self)
        for end in (self.outbox.flush, self.outbox.forget, self.outbox.lost):
            self.peer.buffered = MAX_BUFFER
            self.outbox.reply(text("reply"))
            end()
            self.assertEqual((self.outbox.waiting, self.used), (None, 0))
        self.assertEqual(self.peer.messages, [text("reply")])
        self.outbox.reply(text("late"))
        self.outbox.flush()
        self.assertEqual((self.outbox.waiting, self.outbox.buffered, len(self.peer.messages)), (None, 0, 1))


class HeldPushTests(ConnectionCase):
    """Pushes before the handshake is finished (protocol §3: 202)."""

    def test_they_go_out_first(self) -> None:
        """In their order, before anything else."""
        self.ask()
        self.assertFalse(self.connection.outbox.push(text("a")))
        self.assertFalse(self.connection.outbox.push(text("b")))
        self.assertEqual(self.connection.outbox.buffered, 2)
        self.assertEqual(self.connection.traffic.messages_out, 0)
        self.calls.answer(Grant())
        self.assertTrue(self.connection.outbox.push(text("c")))
        self.assertEqual(self.peer.messages, [text("a"), text("b"), text("c")])
        self.assertEqual(self.connection.traffic.messages_out, 3)
        self.assertEqual(self.connection.traffic.bytes_out, 3)

    def test_they_are_forgotten_when_the_post_is_refused(self) -> None:
        """There is no client to send them to."""
        self.ask()
        self.connection.outbox.push(text("a"))
        self.calls.answer(Denied("no", 403))
        self.assertEqual(self.peer.frames, [])
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("b"))
        self.nothing_left()

    def test_their_number_is_bounded(self) -> None:
        """Empty ones cost memory too."""
        self.ask()
        for _ in range(MAX_HELD):
            self.connection.outbox.push(text(""))
        self.assertRaises(TooSlowError, self.connection.outbox.push, text(""))
        self.calls.answer(Grant())
        self.assertEqual(len(self.peer.messages), MAX_HELD)
        self.assertTrue(self.connection.outbox.push(text("")))

    def test_their_bytes_are_bounded(self) -> None:
        """By WS_MAX_BUFFER, to the byte."""
        self.ask()
        for _ in range(10):
            self.connection.outbox.push(sized(1000))
        self.assertRaises(TooSlowError, self.connection.outbox.push, sized(1))
        self.assertFalse(self.connection.outbox.push(sized(0)))
        self.assertEqual(self.connection.outbox.buffered, MAX_BUFFER)

    def test_none_is_taken_for_a_client_that_left(self) -> None:
        """404 from then on."""
        self.ask()
        self.connection.left()
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("a"))


class ConfirmedPushTests(ConnectionCase):
    """Pushes that wait for the client's pong (protocol §3, ``Ws-Confirm``)."""

    def push(self, seconds: float = 10.0, content: str = "a") -> list[object]:
        """:returns: what the pusher is told, once it is"""
        told: list[object] = []
        self.connection.outbox.push_confirmed(text(content), seconds).addBoth(told.append)
        return told

    def pong(self, number: int = -1) -> None:
        """Answer one of the pings."""
        self.connection.heard()
        self.connection.outbox.pong(self.peer.ping_payloads[number])

    def test_confirmed(self) -> None:
        """A ping follows the message; its pong is the proof."""
        self.open()
        told = self.push()
        self.assertEqual(self.peer.frames, [text("a"), "ping"])
        self.connection.outbox.pong(b"unasked")
        self.assertEqual(told, [])
        self.pong()
        self.assertEqual(told, [True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pongs_of_others(self) -> None:
        """No push waits, or none ever did; keepalive pings confirm nothing."""
        self.open()
        self.connection.outbox.pong(b"")
        self.wait(15)
        self.assertEqual(self.peer.ping_payloads, [b""])
        self.pong()
        told = self.push()
        self.connection.outbox.pong(b"")
        self.assertEqual(told, [])

    def test_plain_pushes_keep_no_receipts(self) -> None:
        """A connection has none until a push asks for them."""
        self.open()
        self.connection.outbox.push(text("a"))
        self.connection.outbox.pong(b"unasked")
        self.assertIsNone(self.connection.outbox._receipts)

    def test_late(self) -> None:
        """The time is over; the connection goes on."""
        self.open()
        told = self.push(0.5)
        self.clock.advance(0.5)
        self.assertEqual(told, [False])
        self.pong()
        self.assertIs(self.connection.state, State.OPEN)

    def test_paused(self) -> None:
        """Time in which the gateway does not read the client counts."""
        self.open()
        for _ in range(MAX_WAITING + 1):
            self.connection.received(sized(1))
        self.assertFalse(self.peer.reading)
        told = self.push(1)
        self.clock.advance(1)
        self.assertEqual(told, [False])

    def test_the_client_closes(self) -> None:
        """Told at once: what follows its Close frame is not read."""
        self.open()
        told = self.push()
        self.connection.closed_by_client(Close(1000))
        self.assertEqual(told, [False])
        self.lose()
        self.assertEqual(told, [False])

    def test_the_connection_is_lost(self) -> None:
        """Told at once, even if the API is still to be told."""
        self.open()
        self.connection.received(text("on its way"))
        told = self.push()
        self.lose()
        self.assertEqual(told, [False])
        self.assertEqual(self.calls.begun, ["POST", "PUT 1"])

    def test_the_api_closes(self) -> None:
        """The pong may still come before the client's Close frame."""
        self.open()
        told, late = self.push(), self.push()
        self.connection.close(Close(1000), ClosedBy.API)
        self.assertEqual(self.peer.frames, [text("a"), "ping", text("a"), "ping", Close(1000)])
        self.pong(0)
        self.assertEqual((told, late), ([True], []))
        self.lose()
        self.assertEqual(late, [False])

    def test_given_up(self) -> None:
        """A client that is silent for too long is aborted, and nothing is confirmed."""
        self.open()
        told = self.push(30)
        self.wait(29.5)
        self.assertEqual(told, [])
        self.connection.check(UPTIME + TIMEOUT)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.assertEqual(told, [False])

    def test_during_the_handshake(self) -> None:
        """The time begins at once; one ping follows all that waited."""
        self.ask()
        first, late = self.push(10), self.push(1)
        self.connection.outbox.push(text("plain"))
        self.clock.advance(1)
        self.assertEqual((first, late), ([], [False]))
        self.calls.answer(Grant())
        self.assertEqual(self.peer.frames, [text("a"), text("a"), text("plain"), "ping"])
        self.pong()
        self.assertEqual(first, [True])

    def test_nobody_waits_at_the_end_of_the_handshake(self) -> None:
        """No ping; the message goes out."""
        self.ask()
        told = self.push(1)
        self.clock.advance(1)
        self.calls.answer(Grant())
        self.assertEqual((told, self.peer.frames), ([False], [text("a")]))

    def test_closed_during_the_handshake(self) -> None:
        """The ping goes before the Close."""
        self.ask()
        told = self.push()
        self.connection.close(Close(4000), ClosedBy.API)
        self.calls.answer(Grant())
        self.assertEqual(self.peer.frames, [text("a"), "ping", Close(4000)])
        self.pong()
        self.assertEqual(told, [True])

    def test_no_connection_comes_about(self) -> None:
        """Refused, failed, left, shut down: told at once."""
        for failure in (Denied("no", 403), NotSent("refused"), NoAnswer("cut")):
            self.begin()
            self.ask()
            told = self.push()
            self.calls.answer(failure)
            self.assertEqual(told, [False], failure)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.begin()
        self.ask()
        told = self.push()
        self.connection.left()
        self.assertEqual(told, [False])
        self.begin()
        self.ask()
        told = self.push()
        self.connection.shut_down()
        self.calls.answer(Grant())
        self.assertEqual(told, [False])

    def test_refused(self) -> None:
        """No room, or closing: nothing is sent, and no push waits."""
        self.open()
        self.fill()
        self.assertRaises(TooSlowError, self.connection.outbox.push_confirmed, text("a"), 1)
        self.connection.close(Close(1000), ClosedBy.API)
        self.assertRaises(NotPresentError, self.connection.outbox.push_confirmed, text("a"), 1)
        self.assertEqual(self.peer.ping_payloads, [])

    def test_too_many(self) -> None:
        """Only so many wait; the message of one more is not sent. Plain pushes go on."""
        self.open()
        told = [self.push() for _ in range(confirmation.MAX_WAITING)]
        sent = len(self.peer.frames)
        self.assertRaises(TooManyWaitError, self.connection.outbox.push_confirmed, text("a"), 1)
        self.assertEqual(len(self.peer.frames), sent)
        self.connection.outbox.push(text("plain"))
        self.pong()
        self.assertEqual(told, [[True]] * confirmation.MAX_WAITING)
        self.push()

    def test_cancelled(self) -> None:
        """The pusher left: no timer is left either."""
        self.open()
        waiting = self.connection.outbox.push_confirmed(text("a"), 10)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_told_pushers_push_again(self) -> None:
        """In the moment in which they are told, whatever it is that ends their waiting."""
        for end in (
            lambda: self.pong(),
            lambda: self.connection.closed_by_client(Close(1000)),
            lambda: self.lose(),
        ):
            self.begin()
            self.open()
            outcomes: list[object] = []

            def again(_: bool, outcomes: list[object] = outcomes) -> None:
                try:
                    outcomes.append(self.connection.outbox.push(text("again")))
                except NotPresentError as error:
                    outcomes.append(type(error))
                outcomes.append(self.connection.close(Close(4000), ClosedBy.API))

            self.connection.outbox.push_confirmed(text("a"), 10).addCallback(again)
            end()
            self.assertIn(outcomes, ([True, True], [NotPresentError, False]))
