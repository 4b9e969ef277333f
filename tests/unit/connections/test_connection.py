"""One connection's life: order, ends, bounds and timers (protocol §2.1, §2.3, §2.4, §3 and §4)."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import MemoryPeer, PendingCalls, TimeOfDay, home
from wsaas.connections.close_timeout import CLOSE_ROUNDS, CLOSE_TIMEOUT
from wsaas.connections.connection import Connection, State
from wsaas.connections.identity import Identity
from wsaas.connections.inbox import MAX_WAITING
from wsaas.connections.interfaces import NO_JOURNAL, Journal
from wsaas.connections.messages import Close, ClosedBy, Delivered, End, Grant, Handshake, Message, Rejected, Remembered
from wsaas.connections.registry import Registry
from wsaas.connections.retry import LONGEST_PAUSE, Backoff, Retries
from wsaas.connections.settings import ConnectionSettings
from wsaas.connections.totals import Shared, Totals
from wsaas.errors import (
    CallbackFailed,
    ClientLeftError,
    Denied,
    GatewayFault,
    NoAnswer,
    NoSlot,
    NotPresentError,
    NotSent,
    TimedOut,
    TooSlowError,
    Unauthorized,
    Unsuccessful,
    Unusable,
)

NOW = 1_700_000_000.0
UPTIME = 5000.0
TIMEOUT = 30.0
MAX_MESSAGE = 1000
MAX_BUFFER = 10_000
#: Of one connection.
MAX_GROUPS = 3

IDENTITY = Identity("key", "tag", "http://gateway/key")
HANDSHAKE = Handshake(
    target=b"/chat",
    host=b"gateway",
    secure=False,
    client="192.0.2.1",
    origin=None,
    user_agent=None,
    forwarded=(),
    key="dGhlIHNhbXBsZSBub25jZQ==",
    protocols=(),
    extensions="",
)


def text(content: str) -> Message:
    """:returns: a text message"""
    return Message(content.encode(), False)


def sized(size: int) -> Message:
    """:returns: a binary message of so many bytes"""
    return Message(b"x" * size, True)


def ending(code: int, by: ClosedBy, reason: str = "") -> End:
    """:returns: an end, in short"""
    return End(Close(code, reason), by)


class ConnectionCase(SynchronousTestCase):
    """A connection between a client and an API in memory."""

    journal: Journal = NO_JOURNAL

    def setUp(self) -> None:
        self.begin()

    def begin(
        self,
        timeout: float = TIMEOUT,
        max_message: int = MAX_MESSAGE,
        max_buffer: int = MAX_BUFFER,
        *,
        fast: bool = True,
        retry_for: float = 0.0,
    ) -> None:
        """Start again with a connection whose POST is not sent yet."""
        self.clock = Clock()
        self.clock.advance(UPTIME)
        self.now = TimeOfDay(self.clock, NOW)
        self.registry, self.totals = Registry(), Totals(0.01)
        self.calls = PendingCalls(Retries(self.clock, self.now, Backoff(lambda: 0.5), retry_for))
        self.peer = MemoryPeer(fast=fast)
        self.failures: list[BaseException | None] = []
        self.groups = home(self.registry, self.totals, self.clock, MAX_GROUPS)
        self.connection = Connection(
            IDENTITY,
            HANDSHAKE,
            self.calls,
            Shared(
                ConnectionSettings(timeout, max_message, max_buffer),
                self.registry,
                self.totals,
                self.clock,
                self.now,
                self.groups,
                self.journal,
            ),
        )

    def ask(self) -> None:
        """Begin the POST."""

        def granted(grant: Grant) -> None:
            self.connection.open(self.peer, grant.close, grant.closed_by)

        def failed(failure: Failure) -> None:
            self.failures.append(failure.value)

        self.connection.authorise().addCallback(granted).addErrback(failed)

    def open(self, grant: Grant | None = None) -> None:
        """Come to an open WebSocket."""
        self.ask()
        self.calls.answer(grant or Grant())

    def lose(self) -> None:
        """End the TCP connection."""
        self.connection.lost()

    def fill(self, size: int = MAX_BUFFER) -> None:
        """Make the client a slow one, with so much waiting for it."""
        self.peer.fast = False
        self.peer.buffered = size
        self.connection.check_soon()

    def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, with a look at every step, if the connection is due for one."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            self.look()
            seconds -= step

    def look(self) -> None:
        """Look at the connection, if it is due for that."""
        for connection in self.totals.due.take(self.clock.seconds(), 10):
            connection.check(self.clock.seconds())

    def begun(self, *calls: str) -> None:
        """Check which calls were begun, in which order, and that none was while another was not over."""
        self.assertEqual(self.calls.begun, list(calls))
        self.assertEqual(self.calls.overlaps, 0)

    def finish(self, end: End, undelivered: int = 0) -> None:
        """Check that exactly one DELETE is on its way, answer it, and check that nothing is left."""
        self.assertEqual(self.calls.disconnects, [(end, undelivered)])
        self.assertEqual(self.calls.begun[-1], "DELETE")
        self.assertEqual(self.calls.overlaps, 0)
        self.assertEqual(len(self.registry), 1)
        self.calls.answer()
        self.nothing_left()

    def nothing_left(self) -> None:
        """Check that nothing is left of the connection and no timer runs."""
        self.assertEqual(len(self.registry), 0)
        self.assertIsNone(self.registry.get("key"))
        self.assertIsNone(self.calls.pending)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIs(self.connection.state, State.OVER)


class HandshakeTests(ConnectionCase):
    """From the POST to the 101, or not (protocol §2.1 and §2.2)."""

    def test_the_connection_can_be_addressed_before_the_post_is_answered(self) -> None:
        """An API may push from inside its POST."""
        self.ask()
        self.begun("POST")
        self.assertIs(self.registry.get("key"), self.connection)
        self.assertIs(self.connection.state, State.AUTHORISING)

    def test_a_grant_opens(self) -> None:
        """With the subprotocol and the state that the API chose."""
        self.open(Grant("chat.v1", "user=7"))
        self.assertIs(self.connection.state, State.OPEN)
        self.assertEqual(self.connection.protocol, "chat.v1")
        self.assertEqual(self.connection.remembered, Remembered("user=7"))
        self.assertEqual(self.connection.traffic.connected_at, NOW)
        self.assertEqual(self.peer.frames, [])

    def test_an_empty_state_is_none(self) -> None:
        """Protocol §2.4: empty removes it."""
        self.open(Grant(state=""))
        self.assertIsNone(self.connection.remembered)

    def test_no_delete_is_owed_after_a_known_refusal(self) -> None:
        """A complete refusal, or a POST that never reached the API."""
        for error in (Denied("no", 403), NotSent("no connection"), NoSlot("no slot")):
            self.begin()
            self.ask()
            self.calls.answer(error)
            self.assertEqual(self.failures, [error])
            self.begun("POST")
            self.nothing_left()

    def test_one_delete_is_owed_in_every_other_case(self) -> None:
        """Timed out, cut, 5xx, unusable answer, a fault: the API may have seen the POST."""
        for error, code, by in (
            (NoAnswer("cut"), 1013, ClosedBy.UNREACHABLE),
            (TimedOut("late"), 1013, ClosedBy.UNREACHABLE),
            (Unsuccessful("500"), 1013, ClosedBy.UNREACHABLE),
            (Unusable("bad"), 1011, ClosedBy.ERROR),
            (GatewayFault("oops"), 1011, ClosedBy.ERROR),
        ):
            self.begin()
            self.ask()
            self.calls.answer(error)
            self.assertEqual(self.failures, [error])
            self.assertIsNone(self.registry.get("key"))
            self.begun("POST", "DELETE")
            self.finish(ending(code, by))

    def test_an_unforeseen_failure_of_the_post_is_a_fault_and_owes_a_delete(self) -> None:
        """It is logged, and the client is answered as for any CallbackFailed."""
        self.ask()
        self.calls.answer(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsInstance(self.failures[0], GatewayFault)
        self.finish(ending(1011, ClosedBy.ERROR))

    def test_a_client_that_leaves_costs_a_delete_once_the_post_is_granted(self) -> None:
        """Not before: each call is finished before the next begins."""
        self.ask()
        self.connection.left()
        self.assertIsNone(self.registry.get("key"))
        self.begun("POST")
        self.calls.answer(Grant(state="s"))
        self.assertIsInstance(self.failures[0], ClientLeftError)
        self.begun("POST", "DELETE")
        self.assertEqual(self.calls.states[-1], "s")
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_a_client_that_leaves_costs_nothing_if_the_post_is_refused(self) -> None:
        """Then no DELETE is needed."""
        self.ask()
        self.connection.left()
        self.calls.answer(Denied("no", 404))
        self.begun("POST")
        self.nothing_left()

    def test_the_client_that_left_is_the_first_cause(self) -> None:
        """What becomes of the POST later is not."""
        self.ask()
        self.connection.left()
        self.calls.answer(TimedOut("late"))
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_shutdown_during_the_post(self) -> None:
        """The grant comes too late, and is taken back."""
        self.ask()
        self.connection.shut_down()
        self.begun("POST")
        self.calls.answer(Grant())
        self.assertIsInstance(self.failures[0], ClientLeftError)
        self.finish(ending(1001, ClosedBy.SHUTDOWN))

    def test_shutdown_during_a_post_that_is_refused(self) -> None:
        """No DELETE is needed."""
        self.ask()
        self.connection.shut_down()
        self.calls.answer(Denied("no", 403))
        self.begun("POST")
        self.nothing_left()

    def test_shutdown_then_a_client_that_leaves(self) -> None:
        """First cause wins."""
        self.ask()
        self.connection.shut_down()
        self.connection.left()
        self.calls.answer(Grant())
        self.finish(ending(1001, ClosedBy.SHUTDOWN))

    def test_an_api_that_closes_and_then_grants_is_obeyed(self) -> None:
        """The client gets its 101, what was pushed, and the Close."""
        self.ask()
        self.connection.outbox.push(text("a"))
        self.assertTrue(self.connection.close(Close(4001, "full"), ClosedBy.API))
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("b"))
        self.calls.answer(Grant())
        self.assertEqual(self.peer.frames, [text("a"), Close(4001, "full")])
        self.lose()
        self.finish(ending(4001, ClosedBy.API, "full"))

    def test_an_api_that_closes_a_client_that_then_leaves(self) -> None:
        """First cause wins; the grant has no client to go to."""
        self.ask()
        self.connection.close(Close(4001), ClosedBy.API)
        self.connection.left()
        self.calls.answer(Grant())
        self.assertIsInstance(self.failures[0], ClientLeftError)
        self.finish(ending(4001, ClosedBy.API))

    def test_accept_then_close(self) -> None:
        """Ws-Close on the POST: the only refusal whose reason a browser can read."""
        self.ask()
        self.connection.outbox.push(text("why"))
        self.calls.answer(Grant(close=Close(4003, "not you")))
        self.assertEqual(self.peer.frames, [text("why"), Close(4003, "not you")])
        self.assertIsNone(self.registry.get("key"))
        self.lose()
        self.finish(ending(4003, ClosedBy.API, "not you"))

    def test_a_close_that_the_grant_could_not_name(self) -> None:
        """An invalid Ws-Close on the POST: 1011, which is the gateway's own."""
        self.open(Grant(close=Close(1011), closed_by=ClosedBy.ERROR))
        self.assertEqual(self.peer.frames, [Close(1011)])
        self.lose()
        self.finish(ending(1011, ClosedBy.ERROR))

    def test_a_takeover_that_fails_is_a_fault_that_still_says_delete(self) -> None:
        """There is no client yet to send a Close to."""
        deferred = self.connection.authorise()
        self.calls.answer(Grant())
        self.assertEqual(self.successResultOf(deferred), Grant())
        self.connection.broke()
        self.connection.broke()
        self.finish(ending(1011, ClosedBy.ERROR))

    def test_a_fault_after_a_refusal_owes_nothing(self) -> None:
        """The refusal was complete; answering the client failed."""
        self.ask()
        self.calls.answer(Denied("no", 403))
        self.connection.broke()
        self.begun("POST")
        self.nothing_left()


class OrderTests(ConnectionCase):
    """Protocol §2.1: the POST, the PUTs one at a time, the DELETE."""

    def test_puts_go_one_at_a_time_in_order(self) -> None:
        """With consecutive numbers from 1; each begins when the one before is over."""
        self.open()
        for word in "abc":
            self.connection.received(text(word))
        self.begun("POST", "PUT 1")
        self.calls.answer(Delivered())
        self.begun("POST", "PUT 1", "PUT 2")
        self.calls.answer(Rejected(404))
        self.begun("POST", "PUT 1", "PUT 2", "PUT 3")
        self.calls.answer(Delivered())
        self.assertEqual(self.calls.messages, [text("a"), text("b"), text("c")])
        self.connection.received(text("d"))
        self.begun("POST", "PUT 1", "PUT 2", "PUT 3", "PUT 4")

    def test_a_put_that_is_refused_changes_nothing_else(self) -> None:
        """Protocol §2.3: logged, not repeated; the connection stays, and nothing counts as undelivered."""
        self.open()
        self.connection.received(text("a"))
        self.calls.answer(Rejected(404))
        self.assertIs(self.connection.state, State.OPEN)
        self.assertEqual(self.peer.frames, [])
        self.lose()
        self.finish(ending(1006, ClosedBy.CLIENT), 0)

    def test_traffic_is_counted(self) -> None:
        """For GET ws_uri."""
        self.open()
        self.connection.received(text("abc"))
        self.connection.received(text(""))
        self.assertEqual((self.connection.traffic.messages_in, self.connection.traffic.bytes_in), (2, 3))

    def test_the_client_closes_and_its_messages_are_still_delivered(self) -> None:
        """Those that arrived before, in order, then the DELETE; and that only once TCP is over."""
        self.open()
        for word in "abc":
            self.connection.received(text(word))
        self.connection.closed_by_client(Close(4321, "bye"))
        self.assertIsNone(self.registry.get("key"))
        self.calls.answer(Delivered(reply=text("lost")))
        self.calls.answer(Delivered())
        self.lose()
        self.begun("POST", "PUT 1", "PUT 2", "PUT 3")
        self.calls.answer(Delivered(state="last"))
        self.assertEqual(self.calls.states[-1], "last")
        self.assertEqual(self.peer.frames, [])
        self.finish(ending(4321, ClosedBy.CLIENT, "bye"))

    def test_the_delete_waits_for_the_end_of_tcp(self) -> None:
        """All messages are delivered, but the connection is not over."""
        self.open()
        self.connection.closed_by_client(Close(1000))
        self.begun("POST")
        self.lose()
        self.finish(ending(1000, ClosedBy.CLIENT))

    def test_a_lost_client_s_messages_are_still_delivered(self) -> None:
        """TCP ended without a Close frame."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.lose()
        self.calls.answer(Delivered())
        self.begun("POST", "PUT 1", "PUT 2")
        self.calls.answer(Delivered())
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_after_a_failed_put_nothing_more_of_a_lost_client_is_delivered(self) -> None:
        """A gap would break the order; what is dropped is counted, the first cause stays."""
        for error, undelivered in ((NoAnswer("cut"), 3), (Unsuccessful("503"), 3), (Unauthorized("401"), 2)):
            self.begin()
            self.open()
            for word in "abc":
                self.connection.received(text(word))
            self.lose()
            self.calls.answer(error)
            self.begun("POST", "PUT 1", "DELETE")
            self.finish(ending(1006, ClosedBy.CLIENT), undelivered)

    def test_an_unusable_answer_does_not_stop_the_delivery_for_a_lost_client(self) -> None:
        """The API has the message, and the client that its answer is for is gone."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.lose()
        self.calls.answer(Unusable("bad reply"))
        self.begun("POST", "PUT 1", "PUT 2")
        self.calls.answer(Delivered())
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_a_delete_that_fails_is_logged_and_the_connection_forgotten(self) -> None:
        """Calls never fail a DELETE; if one does, the shutdown must not wait for it."""
        self.open()
        self.lose()
        self.calls.answer(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.nothing_left()


class EndTests(ConnectionCase):
    """The table of ends (protocol §2), and what is dropped (§2.1)."""

    def close_and_finish(self, end: End, undelivered: int = 0) -> None:
        """Check that the Close went out; end TCP and answer the DELETE."""
        self.assertEqual(self.peer.closes, [end.close])
        self.assertIs(self.connection.state, State.CLOSING)
        self.assertIsNone(self.registry.get("key"))
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("late"))
        self.assertFalse(self.connection.close(Close(1000), ClosedBy.API))
        self.lose()
        self.finish(end, undelivered)

    def test_the_client_closes(self) -> None:
        """Its code, or 1005 if it had none."""
        for close in (Close(1000), Close(1005), Close(4999, "x")):
            self.begin()
            self.open()
            self.connection.closed_by_client(close)
            self.assertIs(self.connection.state, State.CLOSING)
            self.lose()
            self.finish(End(close, ClosedBy.CLIENT))

    def test_tcp_ends(self) -> None:
        """1006."""
        self.open()
        self.lose()
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_the_api_closes(self) -> None:
        """The PUT in flight gets its answer; what was not begun is dropped and counted, what comes later too."""
        self.open()
        for word in "abc":
            self.connection.received(text(word))
        self.assertTrue(self.connection.close(Close(4000, "go"), ClosedBy.API))
        self.connection.received(text("d"))
        self.begun("POST", "PUT 1")
        self.calls.answer(Delivered(state="kept", reply=text("too late"), close=Close(4444)))
        self.begun("POST", "PUT 1")
        self.assertEqual(self.peer.frames, [Close(4000, "go")])
        self.assertEqual(self.connection.remembered, Remembered("kept"))
        self.close_and_finish(ending(4000, ClosedBy.API, "go"), 3)

    def test_an_answer_closes_after_its_reply(self) -> None:
        """Ws-Reply with Ws-Close."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.calls.answer(Delivered(reply=text("r"), close=Close(4000)))
        self.assertEqual(self.peer.frames, [text("r"), Close(4000)])
        self.begun("POST", "PUT 1")
        self.close_and_finish(ending(4000, ClosedBy.API), 1)

    def test_the_delete_waits_for_the_answer_of_the_put_in_flight(self) -> None:
        """Also when TCP is over long before."""
        self.open()
        self.connection.received(text("a"))
        self.connection.close(Close(1000), ClosedBy.API)
        self.lose()
        self.begun("POST", "PUT 1")
        self.calls.answer(NoAnswer("cut"))
        self.begun("POST", "PUT 1", "DELETE")
        self.finish(ending(1000, ClosedBy.API), 1)

    def test_a_put_that_fails_closes(self) -> None:
        """What each failure means to the client; the message counts as undelivered unless the API answered it."""
        failures: list[tuple[CallbackFailed, int, ClosedBy, int]] = [
            (NotSent("no connection"), 1013, ClosedBy.UNREACHABLE, 2),
            (NoSlot("no slot"), 1013, ClosedBy.UNREACHABLE, 2),
            (NoAnswer("cut"), 1013, ClosedBy.UNREACHABLE, 2),
            (TimedOut("late"), 1013, ClosedBy.UNREACHABLE, 2),
            (Unsuccessful("503"), 1013, ClosedBy.UNREACHABLE, 2),
            (Unauthorized("401"), 1008, ClosedBy.API, 1),
            (Unusable("bad state"), 1011, ClosedBy.ERROR, 1),
            (GatewayFault("oops"), 1011, ClosedBy.ERROR, 2),
        ]
        for error, code, by, undelivered in failures:
            self.begin()
            self.open()
            self.connection.received(text("a"))
            self.connection.received(text("b"))
            self.calls.answer(error)
            self.begun("POST", "PUT 1")
            self.close_and_finish(ending(code, by), undelivered)

    def test_an_unforeseen_failure_of_a_put_is_a_fault(self) -> None:
        """Logged, closed with 1011, and said to the API."""
        self.open()
        self.connection.received(text("a"))
        self.calls.answer(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.close_and_finish(ending(1011, ClosedBy.ERROR), 1)

    def test_a_fault_while_an_answer_is_carried_out_closes_too(self) -> None:
        """The answer cannot be used, and what waits behind it must not wait for ever."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.peer.fault = ZeroDivisionError()
        self.calls.answer(Delivered(reply=text("r")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.close_and_finish(ending(1011, ClosedBy.ERROR), 1)

    def test_a_fault_in_the_peer_closes(self) -> None:
        """1011."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.connection.broke()
        self.calls.answer(Delivered())
        self.close_and_finish(ending(1011, ClosedBy.ERROR), 1)

    def test_shutdown_closes(self) -> None:
        """1001; the PUT in flight gets its answer, what was not begun is dropped."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.connection.shut_down()
        self.connection.shut_down()
        self.calls.answer(Delivered())
        self.close_and_finish(ending(1001, ClosedBy.SHUTDOWN), 1)

    def test_shutdown_drops_what_a_client_that_is_gone_left_behind(self) -> None:
        """The first cause stays, but there is no time for the rest."""
        for gone in (lambda: self.connection.closed_by_client(Close(1000)), lambda: None):
            self.begin()
            self.open()
            for word in "abc":
                self.connection.received(text(word))
            gone()
            self.lose()
            self.connection.shut_down()
            self.calls.answer(Delivered())
            self.begun("POST", "PUT 1", "DELETE")
            self.assertEqual(self.calls.disconnects[0][1], 2)
            self.assertIs(self.calls.disconnects[0][0].by, ClosedBy.CLIENT)
            self.connection.shut_down()
            self.calls.answer()
            self.nothing_left()

    def test_shutdown_of_a_connection_that_is_closing_for_the_api(self) -> None:
        """Nothing new: one Close, one DELETE, the first cause."""
        self.open()
        self.connection.close(Close(4000), ClosedBy.API)
        self.connection.shut_down()
        self.close_and_finish(ending(4000, ClosedBy.API))

    def test_the_first_cause_wins(self) -> None:
        """Whatever comes later, one Close at most goes out and the DELETE names the first."""
        self.open()
        self.connection.closed_by_client(Close(1000, "bye"))
        self.connection.failed_by_peer(Close(1002))
        self.assertFalse(self.connection.close(Close(4000), ClosedBy.API))
        self.connection.closed_by_client(Close(1001))
        self.connection.shut_down()
        self.connection.broke()
        self.assertEqual(self.peer.frames, [])
        self.lose()
        self.finish(ending(1000, ClosedBy.CLIENT, "bye"))

    def test_the_answer_to_a_close_is_no_cause(self) -> None:
        """The client's Close frame that follows ours."""
        self.open()
        self.connection.close(Close(4000), ClosedBy.API)
        self.connection.closed_by_client(Close(4000))
        self.close_and_finish(ending(4000, ClosedBy.API))

    def test_abort_ends_what_is_not_over(self) -> None:
        """At the end of the drain; a client that is not there cannot be aborted."""
        self.connection.abort()
        self.open()
        self.connection.abort()
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.connection.abort()
        self.finish(ending(1006, ClosedBy.CLIENT))


class ProtocolErrorTests(ConnectionCase):
    """A client that breaks the protocol or a limit."""

    def test_it_is_closed(self) -> None:
        """1002, 1007, 1008 or 1009, by protocol."""
        for code in (1002, 1007, 1008, 1009):
            self.begin()
            self.open()
            self.connection.failed_by_peer(Close(code, "why"))
            self.assertEqual(self.peer.frames, [Close(code, "why")])
            self.assertTrue(self.peer.reading)
            self.assertIs(self.connection.state, State.CLOSING)
            self.lose()
            self.finish(ending(code, ClosedBy.PROTOCOL, "why"))

    def test_the_put_in_flight_is_answered_first(self) -> None:
        """Its reply goes out, then the Close; what was not begun is dropped. Meanwhile nothing is read or pushed."""
        self.open()
        for word in "abc":
            self.connection.received(text(word))
        self.connection.failed_by_peer(Close(1002))
        self.assertFalse(self.peer.reading)
        self.assertIsNone(self.registry.get("key"))
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("late"))
        self.assertEqual(self.peer.frames, [])
        self.calls.answer(Delivered(reply=text("r"), close=Close(4000)))
        self.assertEqual(self.peer.frames, [text("r"), Close(1002)])
        self.assertTrue(self.peer.reading)
        self.lose()
        self.begun("POST", "PUT 1", "DELETE")
        self.finish(ending(1002, ClosedBy.PROTOCOL), 2)

    def test_a_put_in_flight_that_fails_changes_nothing(self) -> None:
        """Neither the cause nor the Close."""
        for error, undelivered in ((NoAnswer("cut"), 2), (Unusable("bad"), 1)):
            self.begin()
            self.open()
            self.connection.received(text("a"))
            self.connection.received(text("b"))
            self.connection.failed_by_peer(Close(1007))
            self.calls.answer(error)
            self.assertEqual(self.peer.frames, [Close(1007)])
            self.lose()
            self.finish(ending(1007, ClosedBy.PROTOCOL), undelivered)

    def test_a_client_that_is_not_read_already(self) -> None:
        """It stays so until the Close is out, whose answer is read."""
        self.open()
        for _ in range(11):
            self.connection.received(sized(1000))
        self.assertFalse(self.peer.reading)
        self.connection.failed_by_peer(Close(1002))
        self.assertFalse(self.peer.reading)
        self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)
        self.lose()
        self.finish(ending(1002, ClosedBy.PROTOCOL), 10)

    def test_a_reply_that_has_no_room_does_not_keep_the_connection(self) -> None:
        """Without WS_TIMEOUT nothing else would end it: the close timer has to run."""
        self.begin(timeout=0)
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.connection.failed_by_peer(Close(1002))
        self.calls.answer(Delivered(reply=text("r")))
        self.assertEqual(self.peer.frames, [text("r"), Close(1002)])
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.finish(ending(1002, ClosedBy.PROTOCOL))

    def test_a_reply_that_waits_already_does_not_either(self) -> None:
        """It goes out with the Close."""
        self.begin(timeout=0)
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.calls.answer(Delivered(reply=text("r")))
        self.assertEqual(self.peer.frames, [])
        self.connection.failed_by_peer(Close(1002))
        self.assertEqual(self.peer.frames, [text("r"), Close(1002)])
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.finish(ending(1002, ClosedBy.PROTOCOL))

    def test_a_broken_close_frame_is_answered_at_once(self) -> None:
        """Such a client takes no reply any more, but the PUT in flight gets its answer."""
        self.open()
        self.connection.received(text("a"))
        self.connection.failed_by_peer(Close(1002), at_once=True)
        self.assertEqual(self.peer.frames, [Close(1002)])
        self.calls.answer(Delivered(reply=text("r")))
        self.assertEqual(self.peer.frames, [Close(1002)])
        self.lose()
        self.finish(ending(1002, ClosedBy.PROTOCOL))

    def test_it_leaves_before_the_put_in_flight_is_answered(self) -> None:
        """The cause stays; no Close is sent, as there is no client."""
        self.open()
        self.connection.received(text("a"))
        self.connection.failed_by_peer(Close(1002))
        self.lose()
        self.calls.answer(Delivered(reply=text("r")))
        self.assertEqual(self.peer.frames, [])
        self.finish(ending(1002, ClosedBy.PROTOCOL))


class StateTests(ConnectionCase):
    """``Ws-State`` (protocol §2.4)."""

    def test_it_is_sent_with_each_later_callback(self) -> None:
        """The POST's, then what each PUT sets; no header leaves it, an empty one removes it."""
        self.open(Grant(state="one"))
        for outcome in (Delivered(state="two"), Rejected(404), Delivered(), Delivered(state="")):
            self.connection.received(text("a"))
            self.calls.answer(outcome)
        self.connection.received(text("a"))
        self.calls.answer(Delivered(state="three"))
        self.lose()
        self.assertEqual(self.calls.states, [None, "one", "two", "two", "two", None, "three"])


class ReplyTests(ConnectionCase):
    """Pushes and replies: one queue (protocol §2.4 and §3)."""

    def test_a_push_answered_before_a_put_s_answer_goes_before_its_reply(self) -> None:
        """They leave in the order in which they were completely received."""
        self.open()
        self.connection.received(text("a"))
        self.assertTrue(self.connection.outbox.push(text("pushed")))
        self.calls.answer(Delivered(reply=text("reply")))
        self.connection.outbox.push(text("after"))
        self.assertEqual(self.peer.messages, [text("pushed"), text("reply"), text("after")])

    def test_a_push_needs_room(self) -> None:
        """503 TOO_SLOW, to the byte; nothing of it is sent or counted."""
        self.open()
        self.fill(MAX_BUFFER - 10)
        self.assertRaises(TooSlowError, self.connection.outbox.push, sized(11))
        self.assertEqual(self.connection.traffic.messages_out, 0)
        self.assertTrue(self.connection.outbox.push(sized(10)))
        self.assertEqual(self.connection.outbox.buffered, MAX_BUFFER + 2)

    def test_too_much_waits_for_the_api(self) -> None:
        """Beyond all bounds, those whose messages they are have to go, with 1013; what waited is counted."""
        self.begin(max_message=20000, max_buffer=100000)
        self.open()
        self.totals.budgets.incoming.limit = 6000
        self.connection.received(sized(8000))
        self.assertEqual((self.peer.reading, self.peer.closes), (False, []))
        self.connection.received(sized(8000))
        self.assertEqual(self.peer.closes, [Close(1013)])
        self.lose()
        self.calls.answer(Delivered())
        self.assertEqual(self.calls.disconnects, [(ending(1013, ClosedBy.UNREACHABLE), 1)])
        self.assertEqual(self.totals.budgets.incoming.used, 0)

    def test_too_much_waits_for_all_clients(self) -> None:
        """Then nothing more waits for one that does not read; what a client takes at once it gets."""
        self.open()
        self.peer.fast = False
        self.peer.crowded = True
        self.assertTrue(self.connection.outbox.push(text("first")))
        self.assertRaises(TooSlowError, self.connection.outbox.push, text(""))
        self.peer.flush()
        self.assertTrue(self.connection.outbox.push(text("next")))

    def test_a_reply_waits_for_room_and_the_next_put_with_it(self) -> None:
        """And no push overtakes it, not even one for which there would be room."""
        self.open()
        self.fill(MAX_BUFFER - 10)
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.calls.answer(Delivered(reply=sized(100)))
        self.begun("POST", "PUT 1")
        self.assertRaises(TooSlowError, self.connection.outbox.push, text("p"))
        self.peer.flush(50)
        self.connection.drained()
        self.assertEqual(self.peer.frames, [])
        self.begun("POST", "PUT 1")
        self.peer.flush(50)
        self.connection.drained()
        self.assertEqual(self.peer.frames, [sized(100)])
        self.begun("POST", "PUT 1", "PUT 2")
        self.peer.flush()
        self.assertTrue(self.connection.outbox.push(text("p")))

    def test_the_look_at_the_connection_finds_room_too(self) -> None:
        """A transport whose own buffer never was full does not tell when it is empty."""
        self.begin(max_message=100, max_buffer=200)
        self.open()
        self.fill(200)
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.calls.answer(Delivered(reply=sized(100)))
        self.begun("POST", "PUT 1")
        self.peer.flush()
        self.connection.check(self.clock.seconds())
        self.assertEqual(self.peer.frames, [sized(100)])
        self.begun("POST", "PUT 1", "PUT 2")

    def test_a_close_asked_for_with_a_reply_that_has_no_room(self) -> None:
        """The connection is closing from then on (404, not 503); the order is the same."""
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.calls.answer(Delivered(reply=text("r"), close=Close(4000)))
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("p"))
        self.assertFalse(self.connection.close(Close(4001), ClosedBy.API))
        self.assertEqual(self.peer.frames, [text("r"), Close(4000)])
        self.lose()
        self.finish(ending(4000, ClosedBy.API))

    def test_a_reply_that_waits_goes_before_a_close(self) -> None:
        """It was completely received before the Close was asked for."""
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.calls.answer(Delivered(reply=text("r")))
        self.connection.close(Close(4000), ClosedBy.API)
        self.assertEqual(self.peer.frames, [text("r"), Close(4000)])
        self.connection.drained()
        self.lose()
        self.begun("POST", "PUT 1", "DELETE")
        self.finish(ending(4000, ClosedBy.API), 1)

    def test_a_reply_that_waits_is_nothing_to_a_client_that_is_gone(self) -> None:
        """The rest of its messages is delivered."""
        for gone in (lambda: self.connection.closed_by_client(Close(1000)), self.lose):
            self.begin()
            self.open()
            self.fill()
            self.connection.received(text("a"))
            self.connection.received(text("b"))
            self.calls.answer(Delivered(reply=text("r")))
            self.begun("POST", "PUT 1")
            gone()
            self.begun("POST", "PUT 1", "PUT 2")
            self.connection.drained()
            self.assertEqual(self.peer.frames, [])

    def test_room_without_a_reply_that_waits_changes_nothing(self) -> None:
        """Transports tell it often."""
        self.open()
        self.connection.drained()
        self.begun("POST")
        self.assertEqual(self.peer.frames, [])


class BackPressureTests(ConnectionCase):
    """The client is read only while there is room for its next message (protocol §5, ``WS_MAX_BUFFER``)."""

    def test_reading_stops_when_the_next_message_could_be_too_much(self) -> None:
        """The message in flight counts: 9000 bytes leave room for one of 1000, a byte more does not."""
        self.open()
        for _ in range(9):
            self.connection.received(sized(1000))
        self.assertTrue(self.peer.reading)
        self.connection.received(sized(1))
        self.assertFalse(self.peer.reading)

    def test_reading_goes_on_when_half_of_the_room_is_free(self) -> None:
        """Not at the first free byte."""
        self.open()
        for _ in range(10):
            self.connection.received(sized(1000))
        for _ in range(5):
            self.calls.answer(Delivered())
            self.assertFalse(self.peer.reading)
        self.calls.answer(Rejected(400))
        self.assertTrue(self.peer.reading)

    def test_messages_are_counted_too(self) -> None:
        """Empty ones cost memory."""
        self.open()
        for _ in range(MAX_WAITING):
            self.connection.received(text(""))
        self.assertTrue(self.peer.reading)
        self.connection.received(text(""))
        self.assertFalse(self.peer.reading)
        for _ in range(MAX_WAITING // 2):
            self.calls.answer(Delivered())
        self.assertFalse(self.peer.reading)
        self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)

    def test_a_reply_that_waits_stops_reading_in_the_end(self) -> None:
        """And when it is out, reading goes on."""
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.calls.answer(Delivered(reply=sized(1000)))
        for _ in range(10):
            self.connection.received(sized(1000))
        self.assertFalse(self.peer.reading)
        self.peer.fast = True
        self.peer.flush()
        self.connection.drained()
        for _ in range(6):
            self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)

    def test_the_answer_to_our_close_is_read(self) -> None:
        """A client that was not read must be, or the close handshake cannot finish."""
        for by in (ClosedBy.API, ClosedBy.SHUTDOWN):
            self.begin()
            self.open()
            for _ in range(11):
                self.connection.received(sized(1000))
            self.connection.close(Close(1001), by)
            self.assertTrue(self.peer.reading)
            self.connection.received(sized(1000))
            self.assertTrue(self.peer.reading)
            self.calls.answer(Delivered())
            self.lose()
            self.finish(ending(1001, by), 11)

    def test_nothing_is_done_to_a_client_that_is_gone(self) -> None:
        """Its messages are delivered, and reading is not resumed."""
        self.open()
        for _ in range(10):
            self.connection.received(sized(1000))
        self.lose()
        for _ in range(10):
            self.calls.answer(Delivered())
        self.assertFalse(self.peer.reading)
        self.finish(ending(1006, ClosedBy.CLIENT))


class LivenessTests(ConnectionCase):
    """``WS_TIMEOUT`` and pings (protocol §4)."""

    def test_a_ping_goes_out_after_half_of_the_time(self) -> None:
        """And not before."""
        self.open()
        self.wait(14)
        self.assertEqual(self.peer.pings, 0)
        self.wait(1)
        self.assertEqual(self.peer.pings, 1)
        self.wait(5)
        self.assertEqual(self.peer.pings, 1)

    def test_a_ping_goes_out_after_25_seconds_at_the_latest(self) -> None:
        """However long the time is."""
        self.begin(timeout=3600)
        self.open()
        self.wait(24)
        self.assertEqual(self.peer.pings, 0)
        self.wait(1)
        self.assertEqual(self.peer.pings, 1)

    def test_whatever_is_heard_starts_the_silence_again(self) -> None:
        """Not only pongs."""
        self.open()
        for _ in range(20):
            self.wait(14)
            self.connection.heard()
            self.assertEqual(self.connection.last_seen_at, self.now())
        self.assertEqual(self.peer.pings, 0)
        self.assertIs(self.connection.state, State.OPEN)

    def test_the_time_of_day_is_set(self) -> None:
        """When a client was last heard is told by what it is now; pings do not ask for it."""
        self.open()
        self.wait(10)
        self.now.set_by(-3600)
        self.assertEqual(self.connection.last_seen_at, NOW - 3600)
        self.assertEqual(self.connection.traffic.connected_at, NOW)
        self.wait(5)
        self.assertEqual(self.peer.pings, 1)
        self.now.set_by(90_000)
        self.connection.heard()
        self.assertEqual(self.connection.last_seen_at, self.now())
        self.wait(14)
        self.assertEqual((self.peer.pings, self.connection.state), (1, State.OPEN))

    def test_each_silence_has_its_ping(self) -> None:
        """The pong is heard."""
        self.open()
        for number in range(1, 4):
            self.wait(15)
            self.assertEqual(self.peer.pings, number)
            self.connection.heard()

    def test_a_client_of_which_nothing_comes_is_dead(self) -> None:
        """1006 by timeout; what it had sent is still delivered."""
        self.open()
        self.connection.received(text("a"))
        self.connection.received(text("b"))
        self.wait(29)
        self.assertFalse(self.peer.aborted)
        self.wait(1)
        self.assertTrue(self.peer.aborted)
        self.assertEqual(self.peer.closes, [])
        self.assertRaises(NotPresentError, self.connection.outbox.push, text("late"))
        self.wait(100)
        self.lose()
        self.calls.answer(Delivered())
        self.calls.answer(Delivered())
        self.finish(ending(1006, ClosedBy.TIMEOUT))

    def test_without_a_time_limit_pings_go_out_every_25_seconds(self) -> None:
        """Answered or not, the client never counts as dead."""
        self.begin(timeout=0)
        self.open()
        self.wait(100)
        self.assertEqual(self.peer.pings, 4)
        self.connection.heard()
        self.wait(25)
        self.assertEqual(self.peer.pings, 5)
        self.assertFalse(self.peer.aborted)

    def test_without_a_time_limit_pings_do_not_pile_up(self) -> None:
        """A client that reads nothing gets one."""
        self.begin(timeout=0, fast=False)
        self.open()
        self.wait(1000)
        self.assertEqual(self.peer.pings, 1)

    def test_time_in_which_the_gateway_does_not_read_does_not_count(self) -> None:
        """Neither pings nor death; afterwards the silence starts from nothing. Reading again is no sign of life."""
        self.open()
        for _ in range(10):
            self.connection.received(sized(1000))
        self.wait(1000)
        self.assertEqual(self.peer.pings, 0)
        self.assertFalse(self.peer.aborted)
        for _ in range(6):
            self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)
        self.wait(14)
        self.assertEqual(self.peer.pings, 0)
        self.assertEqual(self.connection.last_seen_at, NOW)
        self.wait(1)
        self.assertEqual(self.peer.pings, 1)
        self.wait(15)
        self.assertTrue(self.peer.aborted)

    def test_time_before_the_101_does_not_count(self) -> None:
        """The API may take its time; the client was not asked anything."""
        self.ask()
        self.wait(1000)
        self.connection.outbox.push(text("held"))
        self.fill(129)  # the 101 itself
        self.calls.answer(Grant())
        self.connection.check(self.clock.seconds())
        self.assertFalse(self.peer.aborted)
        self.assertEqual(self.peer.pings, 0)

    def test_a_client_that_does_not_read_is_slow(self) -> None:
        """1006 by slow, although it is heard all the time; what it had sent is still delivered."""
        self.open()
        self.peer.fast = False
        self.connection.outbox.push(text("a"))
        self.connection.received(text("b"))
        for _ in range(29):
            self.wait(1)
            self.connection.heard()
        self.assertFalse(self.peer.aborted)
        self.wait(1)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.calls.answer(Delivered())
        self.finish(ending(1006, ClosedBy.SLOW))

    def test_a_client_that_is_not_read_can_be_slow_too(self) -> None:
        """A reply waits for room, so it is our not reading that waits for the client."""
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.calls.answer(Delivered(reply=text("r")))
        for _ in range(10):
            self.connection.received(sized(1000))
        self.assertFalse(self.peer.reading)
        self.wait(31)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.calls.answer(Unsuccessful("503"))
        self.finish(ending(1006, ClosedBy.SLOW), 10)

    def test_a_client_that_reads_slowly_is_not_slow(self) -> None:
        """A byte within the time is progress."""
        self.open()
        self.fill()
        for _ in range(20):
            self.wait(29)
            self.peer.flush(1)
            self.connection.heard()
        self.assertFalse(self.peer.aborted)

    def test_more_waiting_bytes_are_no_progress(self) -> None:
        """What TLS adds to each write makes the count of sent bytes smaller for a while."""
        self.open()
        self.fill(100)
        for _ in range(31):
            self.peer.buffered += 20
            self.peer.sent -= 20
            self.wait(1)
            self.connection.heard()
        self.assertTrue(self.peer.aborted)

    def test_bytes_that_begin_to_wait_have_the_whole_time(self) -> None:
        """However long the connection was idle before, and between two checks."""
        self.begin(timeout=30)
        self.open()
        self.clock.advance(1000)
        self.connection.heard()
        self.peer.fast = False
        self.connection.outbox.push(text("a"))
        self.connection.check(self.clock.seconds())
        self.assertFalse(self.peer.aborted)

    def test_without_a_time_limit_nobody_is_slow(self) -> None:
        """0: no check."""
        self.begin(timeout=0)
        self.open()
        self.fill()
        self.wait(1000)
        self.assertFalse(self.peer.aborted)


class CloseTimerTests(ConnectionCase):
    """Protocol §4: a close handshake not finished in 5 s is aborted."""

    def closings(self) -> None:
        """Check that an abort comes, and not before its time; then end."""
        self.clock.advance(CLOSE_TIMEOUT - 0.001)
        self.assertFalse(self.peer.aborted)
        self.clock.advance(0.001)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.calls.answer()
        self.nothing_left()

    def test_every_way_to_close_has_its_abort(self) -> None:
        """Whichever side closed."""
        for close in (
            lambda: self.connection.close(Close(4000), ClosedBy.API),
            lambda: self.connection.closed_by_client(Close(1000)),
            lambda: self.connection.failed_by_peer(Close(1002)),
            lambda: self.connection.failed_by_peer(Close(1002), at_once=True),
            lambda: self.connection.broke(),
            lambda: self.connection.shut_down(),
        ):
            self.begin()
            self.open()
            close()
            self.closings()

    def test_a_close_with_the_grant_has_its_abort(self) -> None:
        """So has one asked for before the grant."""
        self.open(Grant(close=Close(4000)))
        self.closings()
        self.begin()
        self.ask()
        self.connection.close(Close(4000), ClosedBy.API)
        self.calls.answer(Grant())
        self.closings()

    def test_a_close_that_fails_has_its_abort(self) -> None:
        """The timer runs before anything is sent."""
        self.open()
        self.fill()
        self.connection.received(text("a"))
        self.calls.answer(Delivered(reply=text("r")))
        self.peer.fault = ZeroDivisionError()
        self.assertRaises(ZeroDivisionError, self.connection.close, Close(4000), ClosedBy.API)
        self.closings()

    def test_what_was_sent_before_may_take_longer_while_it_moves(self) -> None:
        """The close handshake begins when its frame is out; but not without limit."""
        self.open()
        self.fill()
        self.connection.close(Close(4000), ClosedBy.API)
        for _ in range(CLOSE_ROUNDS - 1):
            self.peer.flush(1)
            self.clock.advance(CLOSE_TIMEOUT)
            self.assertFalse(self.peer.aborted)
        self.peer.flush(1)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.finish(ending(4000, ClosedBy.API))

    def test_bytes_that_do_not_move_get_no_more_time(self) -> None:
        """Even if they moved in the round before."""
        self.open()
        self.fill()
        self.connection.close(Close(4000), ClosedBy.API)
        self.peer.flush(1)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertFalse(self.peer.aborted)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)

    def test_the_timer_ends_with_the_connection(self) -> None:
        """Nothing is left on the clock."""
        self.open()
        self.connection.close(Close(4000), ClosedBy.API)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_closing_connection_is_not_looked_at(self) -> None:
        """Its own timer runs; no ping follows a Close."""
        self.open()
        self.connection.close(Close(4000), ClosedBy.API)
        for _ in range(4):
            self.connection.check(self.clock.seconds() + 1000)
        self.assertEqual(self.peer.frames, [Close(4000)])


class RetryTests(ConnectionCase):
    """While a message is tried again (protocol §2.1 and §2.3)."""

    def setUp(self) -> None:
        """An open connection, one of whose messages was not taken."""
        self.begin_retrying()

    def begin_retrying(self, timeout: float = TIMEOUT) -> None:
        """Start again."""
        self.begin(timeout, retry_for=60.0)
        self.open()
        for word in "ab":
            self.connection.received(text(word))
        self.calls.answer(NotSent("no connection"))

    def failing(self, seconds: float) -> None:
        """Time passes, and every attempt fails."""
        for _ in range(int(seconds * 10)):
            self.wait(0.1)
            if self.calls.pending is not None and self.calls.begun[-1] == "PUT 1":
                self.calls.answer(NotSent("no connection"))

    def next_attempt(self) -> None:
        """Come to the next attempt."""
        self.clock.advance(LONGEST_PAUSE)
        self.assertIsNotNone(self.calls.pending)

    def test_the_client_is_not_read_meanwhile(self) -> None:
        """From the first failure on, until the message is through."""
        self.assertFalse(self.peer.reading)
        self.next_attempt()
        self.assertFalse(self.peer.reading)
        self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)
        self.begun("POST", "PUT 1", "PUT 1", "PUT 2")

    def test_what_was_read_already_is_kept(self) -> None:
        """In order; and reads go on only when the message is through."""
        self.connection.received(text("c"))
        self.assertFalse(self.peer.reading)
        self.next_attempt()
        self.calls.answer(Rejected(404))
        self.assertTrue(self.peer.reading)
        self.calls.answer(Delivered())
        self.calls.answer(Delivered())
        self.assertEqual(self.calls.messages, [text("a"), text("b"), text("c")])

    def test_a_client_that_was_not_read_already(self) -> None:
        """It is not, until there is room too."""
        self.begin(max_message=1000, max_buffer=3000, retry_for=60.0)
        self.open()
        for _ in range(3):
            self.connection.received(sized(900))
        self.assertFalse(self.peer.reading)
        self.calls.answer(NotSent("no connection"))
        self.next_attempt()
        self.calls.answer(Delivered())
        self.assertFalse(self.peer.reading)
        self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)

    def test_its_liveness_clock_stands_still(self) -> None:
        """A client that is not read is not silent; read again, it has the whole time."""
        self.failing(55)
        self.assertFalse(self.peer.aborted)
        self.assertEqual(self.peer.pings, 0)
        self.next_attempt()
        self.calls.answer(Delivered())
        self.calls.answer(Delivered())
        self.wait(TIMEOUT - 1)
        self.assertFalse(self.peer.aborted)
        self.wait(2)
        self.assertTrue(self.peer.aborted)

    def test_it_can_be_slow_all_the_same(self) -> None:
        """What waits for it moves, or not. Its message is delivered all the same."""
        self.fill()
        self.failing(TIMEOUT + 1)
        self.assertTrue(self.peer.aborted)
        self.lose()
        self.next_attempt()
        self.calls.answer(Delivered())
        self.calls.answer(Delivered())
        self.finish(ending(1006, ClosedBy.SLOW))

    def test_in_the_end_it_is_closed(self) -> None:
        """With 1013; the message counts, and those behind it; the answer to the Close is read."""
        self.failing(70)
        self.assertEqual(self.peer.closes, [Close(1013)])
        self.assertTrue(self.peer.reading)
        self.assertNotIn("PUT 2", self.calls.begun)
        self.lose()
        self.finish(ending(1013, ClosedBy.UNREACHABLE), 2)

    def test_pushes_go_on(self) -> None:
        """The other direction does not wait."""
        self.assertTrue(self.connection.outbox.push(text("news")))
        self.assertEqual(self.peer.messages, [text("news")])

    def test_the_client_is_gone(self) -> None:
        """By whatever cause: what it sent is still delivered, retries included, then the DELETE."""
        for cause, end in (
            (lambda: self.connection.closed_by_client(Close(1000)), ending(1000, ClosedBy.CLIENT)),
            (lambda: None, ending(1006, ClosedBy.CLIENT)),
        ):
            self.begin_retrying()
            cause()
            self.lose()
            self.next_attempt()
            self.calls.answer(NoAnswer("cut"))
            self.next_attempt()
            self.calls.answer(Delivered())
            self.calls.answer(NoAnswer("cut"))
            self.next_attempt()
            self.calls.answer(Delivered())
            self.begun("POST", "PUT 1", "PUT 1", "PUT 1", "PUT 2", "PUT 2", "DELETE")
            self.finish(end)

    def test_the_client_is_gone_before_the_first_failure(self) -> None:
        """There is no client to pause."""
        self.begin(retry_for=60.0)
        self.open()
        self.connection.received(text("a"))
        self.lose()
        self.calls.answer(TimedOut("late"))
        self.assertTrue(self.peer.reading)
        self.failing(70)
        self.finish(ending(1006, ClosedBy.CLIENT), 1)

    def test_the_client_is_timed_out_before_the_first_failure(self) -> None:
        """Its message is still delivered, retries included."""
        self.begin(retry_for=60.0)
        self.open()
        self.connection.received(text("a"))
        self.wait(TIMEOUT)
        self.assertTrue(self.peer.aborted)
        self.calls.answer(TimedOut("late"))
        self.lose()
        self.next_attempt()
        self.calls.answer(Delivered())
        self.finish(ending(1006, ClosedBy.TIMEOUT))

    def test_given_up_while_it_waits(self) -> None:
        """The API closed, or shutdown, or a fault, or a protocol error: at once, and counted."""
        for cause, end in (
            (lambda: self.connection.close(Close(4000), ClosedBy.API), ending(4000, ClosedBy.API)),
            (lambda: self.connection.shut_down(), ending(1001, ClosedBy.SHUTDOWN)),
            (lambda: self.connection.broke(), ending(1011, ClosedBy.ERROR)),
            (lambda: self.connection.failed_by_peer(Close(1002)), ending(1002, ClosedBy.PROTOCOL)),
            (
                lambda: self.connection.failed_by_peer(Close(1002), at_once=True),
                ending(1002, ClosedBy.PROTOCOL),
            ),
        ):
            self.begin_retrying()
            cause()
            self.assertEqual(self.peer.closes, [end.close])
            self.assertTrue(self.peer.reading)
            self.lose()
            self.begun("POST", "PUT 1", "DELETE")
            self.finish(end, 2)

    def test_not_repeated_when_it_is_on_its_way(self) -> None:
        """Then its answer is awaited, but nothing else."""
        for cause, end in (
            (lambda: self.connection.close(Close(4000), ClosedBy.API), ending(4000, ClosedBy.API)),
            (lambda: self.connection.shut_down(), ending(1001, ClosedBy.SHUTDOWN)),
            (lambda: self.connection.failed_by_peer(Close(1002)), ending(1002, ClosedBy.PROTOCOL)),
        ):
            for result, undelivered in ((NoAnswer("cut"), 2), (Delivered(), 1)):
                self.begin_retrying()
                self.next_attempt()
                cause()
                self.calls.answer(result)
                self.assertEqual(self.peer.closes, [end.close])
                self.lose()
                self.begun("POST", "PUT 1", "PUT 1", "DELETE")
                self.finish(end, undelivered)

    def test_shutdown_gives_up_what_a_client_that_is_gone_left_behind(self) -> None:
        """At once if it waits, so that the DELETE has its time; counted once."""
        self.connection.closed_by_client(Close(1000))
        self.lose()
        self.connection.shut_down()
        self.connection.shut_down()
        self.begun("POST", "PUT 1", "DELETE")
        self.finish(ending(1000, ClosedBy.CLIENT), 2)

    def test_shutdown_while_a_client_that_closed_is_still_there(self) -> None:
        """The DELETE waits for the end of TCP."""
        self.connection.closed_by_client(Close(1000))
        self.connection.shut_down()
        self.begun("POST", "PUT 1")
        self.lose()
        self.finish(ending(1000, ClosedBy.CLIENT), 2)

    def test_the_state_is_the_same(self) -> None:
        """That of the first attempt: nothing can change it meanwhile."""
        self.begin(retry_for=60.0)
        self.open(Grant(state="s"))
        self.connection.received(text("a"))
        self.calls.answer(NoAnswer("cut"))
        self.next_attempt()
        self.assertEqual(self.calls.states, [None, "s", "s"])
