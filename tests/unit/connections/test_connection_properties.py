"""Whatever happens to a connection in whatever order: what has to hold holds (protocol §2.1, §3 and §4)."""

from __future__ import annotations

import gc
import weakref
from itertools import groupby

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import MemoryPeer, PendingCalls, TimeOfDay, home
from tests.properties import run_courses
from tests.unit.connections.test_connection import HANDSHAKE, IDENTITY, NOW, UPTIME
from wsaas.connections.close_timeout import CLOSE_ROUNDS, CLOSE_TIMEOUT
from wsaas.connections.confirmations import MAX_WAITING as MAX_CONFIRMING
from wsaas.connections.connection import Connection, State
from wsaas.connections.inbox import MAX_WAITING
from wsaas.connections.messages import Close, ClosedBy, Delivered, Grant, Message, Publication, Rejected, Wishes
from wsaas.connections.outbox import MAX_HELD
from wsaas.connections.registry import Registry
from wsaas.connections.retry import LONGEST_PAUSE, Backoff, Retries
from wsaas.connections.settings import ConnectionSettings
from wsaas.connections.totals import Shared, Totals
from wsaas.errors import (
    CallbackFailed,
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

MAX_MESSAGE = 100
MAX_BUFFER = 300

messages = st.builds(Message, st.integers(0, MAX_MESSAGE).map(lambda size: b"x" * size), st.booleans())
closes = st.sampled_from([Close(1000), Close(4000, "api"), Close(4999)])
seconds = st.sampled_from([0.0, 0.5, 1.0, CLOSE_TIMEOUT, 10.0, 30.0])
grants = st.builds(Grant, st.none(), st.sampled_from([None, "", "granted"]), st.none() | closes)
#: Whether a DELETE is needed after each.
refusals: dict[type[CallbackFailed], bool] = {
    NotSent: False,
    NoSlot: False,
    NoAnswer: True,
    TimedOut: True,
    Unsuccessful: True,
    Unusable: True,
    GatewayFault: True,
}
#: Whether the message counts as undelivered after each.
failures: dict[type[CallbackFailed], bool] = {
    NotSent: True,
    NoSlot: True,
    NoAnswer: True,
    TimedOut: True,
    Unsuccessful: True,
    GatewayFault: True,
    Unusable: False,
    Unauthorized: False,
}
publishes = st.builds(
    Wishes,
    st.sampled_from([None, "", "bob"]),
    join=st.sampled_from([(), ("a",)]),
    publication=st.none() | st.just(Publication(("groups/b",), Message(b"", False))),
)
outcomes = st.builds(
    Delivered,
    st.sampled_from([None, "", "state"]),
    st.none() | messages,
    st.none() | st.none() | closes,
    st.none() | st.none() | publishes,
) | st.builds(Rejected, st.sampled_from([400, 404, 500]))


class ObservedConnection(Connection):
    """A connection whose end can be seen."""

    __slots__ = ("__weakref__",)


class OneConnection(RuleBasedStateMachine):
    """A connection between a client, an API and a clock that do what they like."""

    @initialize(
        timeout=st.sampled_from([0.0, 10.0]),
        fast=st.booleans(),
        lifetime=st.integers(0, 30),
        opening=st.sampled_from([True, True, True, False]),
        retry_for=st.sampled_from([0.0, 3.0, 60.0]),
        drawn=st.sampled_from([0.0, 0.5, 1.0]),
    )
    def begin(self, timeout: float, fast: bool, lifetime: int, opening: bool, retry_for: float, drawn: float) -> None:
        """A handshake was checked.

        :param lifetime: how many events there are before any that ends the connection; else most would end at once
        :param opening: whether the POST is granted at once
        :param retry_for: for how long a message is tried again
        :param drawn: how long each pause is, of the longest it may be
        """
        self.remaining = lifetime
        self.clock = Clock()
        self.clock.advance(UPTIME)
        now = TimeOfDay(self.clock, NOW)
        self.registry, self.totals = Registry(), Totals()
        self.calls = PendingCalls(Retries(self.clock, now, Backoff(lambda: drawn), retry_for))
        self.retry_for = retry_for
        #: Whether messages are given up that are not on their way.
        self.dropping = False
        self.peer = MemoryPeer(fast=fast)
        self.connection = ObservedConnection(
            IDENTITY,
            HANDSHAKE,
            self.calls,
            Shared(
                ConnectionSettings(timeout, MAX_MESSAGE, MAX_BUFFER),
                self.registry,
                self.totals,
                self.clock,
                now,
                home(self.registry, self.totals, self.clock),
            ),
        )
        self.opened = False
        self.left = False
        self.lost = False
        self.client_closed = False
        self.client_failed = False
        self.refused = False
        #: Whether a DELETE is needed, once the POST is over.
        self.needs_disconnect = False
        #: What ended it first.
        self.first_cause: ClosedBy | None = None
        self.received = 0
        self.settled = 0
        #: The answer that publishes something, until that is done; and whether there is no room for it.
        self.publishing: Delivered | None = None
        self.stalled = False
        #: Pushes that wait for a pong: the first ping that proves each, and what it is told.
        self.confirming: list[tuple[int, list[bool]]] = []
        #: The last ping that was answered.
        self.answered_ping = -1
        #: Messages for the client that were taken, in order.
        self.taken: list[Message] = []
        self.connection.authorise().addCallbacks(self._granted, self._not_granted)
        if opening:
            self.needs_disconnect = True
            self.calls.answer(Grant())

    def _granted(self, grant: Grant) -> None:
        self.opened = True
        self.connection.open(self.peer, grant.close)

    def _not_granted(self, failure: Failure) -> None:
        self.refused = True

    @property
    def ending(self) -> bool:
        """Whether it is time for what ends a connection."""
        return self.remaining <= 0

    @property
    def connected(self) -> bool:
        """Whether the client has its WebSocket and TCP is not over."""
        return self.opened and not self.lost

    @property
    def speaking(self) -> bool:
        """Whether frames of the client arrive: it may send some, and they are read."""
        return (
            self.connected
            and self.peer.reading
            and not self.peer.aborted
            and not self.client_closed
            and not self.client_failed
        )

    def cause(self, by: ClosedBy) -> None:
        """Note a cause; the first one wins."""
        if self.first_cause is None:
            self.first_cause = by

    # The client

    @precondition(lambda self: self.speaking)
    @rule(message=messages, count=st.sampled_from([1, 1, 1, 5, 80]))
    def receive(self, message: Message, count: int) -> None:
        """Messages come, as long as they are read."""
        for _ in range(count):
            if not self.peer.reading:
                break
            self.connection.heard()
            self.connection.received(message)
            self.received += 1

    @precondition(lambda self: self.speaking)
    @rule(exchanged=st.lists(st.tuples(messages, outcomes), min_size=1, max_size=5))
    def converse(self, exchanged: list[tuple[Message, Delivered | Rejected]]) -> None:
        """Messages come, and an answer after each; else most of them would still wait in the end."""
        for message, outcome in exchanged:
            if self.speaking:
                self.receive(message, 1)
            if self.putting:
                self.answer(outcome)

    @precondition(lambda self: self.ending and self.speaking)
    @rule(close=closes)
    def close_by_client(self, close: Close) -> None:
        """Its Close frame."""
        self.client_closed = True
        self.cause(ClosedBy.CLIENT)
        self.connection.heard()
        self.connection.closed_by_client(close)

    @precondition(lambda self: self.ending and self.speaking and not self.peer.closes)
    @rule(code=st.sampled_from([1002, 1007, 1009]), at_once=st.booleans())
    def fail(self, code: int, at_once: bool) -> None:
        """It breaks the protocol."""
        self.client_failed = True
        self.dropping = True
        self.cause(ClosedBy.PROTOCOL)
        if at_once:
            # Such a client takes no reply any more.
            self.taken = self.peer.messages
        self.connection.failed_by_peer(Close(code), at_once=at_once)

    @precondition(lambda self: self.ending and self.connected)
    @rule()
    def lose(self) -> None:
        """TCP is over."""
        self.lost = True
        self.cause(ClosedBy.CLIENT)
        self.connection.lost()

    @precondition(lambda self: self.ending and not self.opened and not self.refused and not self.left)
    @rule()
    def leave(self) -> None:
        """The client gives up before it has its 101."""
        self.left = True
        self.cause(ClosedBy.CLIENT)
        self.connection.left()

    @precondition(lambda self: self.connected)
    @rule(back=st.none() | st.integers(0, 5))
    def pong(self, back: int | None) -> None:
        """Something is heard: an answer to one of the last pings, or no answer at all."""
        if not self.peer.reading:
            return
        self.connection.heard()
        pings = self.peer.ping_payloads
        if back is None or back >= len(pings):
            self.connection.outbox.pong(b"unasked")
            return
        number = len(pings) - 1 - back
        if pings[number]:
            self.answered_ping = max(self.answered_ping, number)
        self.connection.outbox.pong(pings[number])

    @precondition(lambda self: self.connected)
    @rule(size=st.none() | st.integers(1, 150), fast=st.booleans(), tell=st.booleans())
    def read(self, size: int | None, fast: bool, tell: bool) -> None:
        """The client reads some bytes; the transport tells of room, or not yet."""
        self.peer.flush(size)
        self.peer.fast = fast and not self.peer.buffered
        if tell:
            self.connection.drained()

    # The API

    @precondition(lambda self: self.calls.begun == ["POST"] and self.calls.pending is not None)
    @rule(grant=grants)
    def grant(self, grant: Grant) -> None:
        """The POST is granted."""
        if grant.close is not None and self.first_cause is None:
            self.cause(ClosedBy.API)
        self.needs_disconnect = True
        self.calls.answer(grant)

    @precondition(lambda self: self.calls.begun == ["POST"] and self.calls.pending is not None)
    @rule(kind=st.sampled_from(sorted(refusals, key=lambda kind: kind.__name__)))
    def fail_post(self, kind: type[CallbackFailed]) -> None:
        """The POST brings no grant."""
        if refusals[kind]:
            self.cause(ClosedBy(kind.closed_by))
        self.needs_disconnect = refusals[kind]
        self.taken.clear()
        self.calls.answer(kind("why"))

    @precondition(lambda self: self.calls.begun == ["POST"] and self.calls.pending is not None)
    @rule()
    def deny(self) -> None:
        """The POST is refused."""
        self.taken.clear()
        self.calls.answer(Denied("no", 403))

    @precondition(lambda self: self.putting)
    @rule(outcome=outcomes)
    def answer(self, outcome: Delivered | Rejected) -> None:
        """A PUT is answered."""
        self.settled += 1
        if not self.ending and isinstance(outcome, Delivered):
            outcome = Delivered(outcome.state, outcome.reply, wishes=outcome.wishes)
        if isinstance(outcome, Delivered) and outcome.wishes is not None and outcome.wishes.publication is not None:
            self.publishing = outcome
        else:
            self.have_its_part(outcome)
        self.calls.answer(outcome)

    def have_its_part(self, outcome: Delivered | Rejected) -> None:
        """The client is about to get what is for it."""
        if isinstance(outcome, Delivered):
            # A reply goes to a client that is open, also to one that has to go because it broke the protocol.
            if outcome.reply is not None and self.connection.state is State.OPEN:
                self.taken.append(outcome.reply)
            if outcome.close is not None and self.connected:
                self.dropping = self.dropping or self.first_cause is None
                self.cause(ClosedBy.API)

    @precondition(lambda self: self.publishing is not None)
    @rule()
    def publish_later(self) -> None:
        """There is no room for what the last answer publishes."""
        self.stalled = True
        self.calls.waits()

    @precondition(lambda self: self.publishing is not None)
    @rule()
    def publish(self) -> None:
        """What the last answer publishes is done: now the client gets its part, and the next callback may begin."""
        outcome, self.publishing, self.stalled = self.publishing, None, False
        assert outcome is not None
        if not self.ending:
            assert outcome.close is None
        self.have_its_part(outcome)
        self.calls.published()

    @precondition(lambda self: self.ending and self.putting)
    @rule(kind=st.sampled_from(sorted(failures, key=lambda kind: kind.__name__)))
    def fail_put(self, kind: type[CallbackFailed]) -> None:
        """A PUT brings no answer that counts; if there is time, it is tried again."""
        self.fail_attempt(kind)

    def fail_attempt(self, kind: type[CallbackFailed]) -> None:
        """A PUT brings no answer that counts."""
        again = kind.passing and not self.dropping and self.clock.seconds() < self.calls.first_began + self.retry_for
        if not again:
            self.settled += not failures[kind]
            # After an end, an answer that cannot be used ends nothing: the API has the message, and gets the others.
            self.dropping = self.dropping or kind is not Unusable or self.first_cause is None
            self.cause(ClosedBy(kind.closed_by))
        self.calls.answer(kind("why"))
        assert self.retrying == again

    @precondition(lambda self: self.putting and self.retry_for)
    @rule(
        kind=st.sampled_from([NotSent, NoAnswer, TimedOut, Unsuccessful]),
        times=st.sampled_from([1, 1, 3, 30]),
    )
    def fail_for_a_while(self, kind: type[CallbackFailed], times: int) -> None:
        """Attempts fail; before the end only while there is time for another one."""
        for _ in range(times):
            time_left = self.clock.seconds() < self.calls.first_began + self.retry_for
            if not self.putting or not (self.ending or (time_left and not self.dropping)):
                break
            self.fail_attempt(kind)
            if self.retrying:
                self.clock.advance(0.5)

    @property
    def retrying(self) -> bool:
        """Whether a PUT waits for its next attempt."""
        retry = self.connection._inbox._retry
        return retry is not None and retry.is_waiting

    @property
    def putting(self) -> bool:
        """Whether a PUT is on its way."""
        return self.calls.pending is not None and self.calls.begun[-1].startswith("PUT")

    @precondition(lambda self: self.calls.pending is not None and self.calls.begun[-1] == "DELETE")
    @rule()
    def settle(self) -> None:
        """The DELETE is done."""
        self.calls.answer()

    @rule(message=messages, count=st.sampled_from([1, 1, 1, 70]))
    def push(self, message: Message, count: int) -> None:
        """Messages for the client; found through the registry, as always."""
        for _ in range(count):
            connection = self.registry.get("key")
            if connection is None:
                try:
                    self.connection.outbox.push(message)
                except NotPresentError:
                    return
                raise AssertionError("a connection that is not listed took a push")
            try:
                sent = connection.outbox.push(message)
            except TooSlowError:
                return
            assert sent is self.opened
            self.taken.append(message)

    @precondition(lambda self: self.registry.get("key") is not None)
    @rule(message=messages, seconds=seconds.filter(bool), count=st.sampled_from([1, 1, 3, 70]))
    def push_confirmed(self, message: Message, seconds: float, count: int) -> None:
        """Messages whose pushers wait for a pong."""
        for _ in range(count):
            proof = len(self.peer.ping_payloads)
            told: list[bool] = []
            try:
                self.connection.outbox.push_confirmed(message, seconds).addCallback(told.append)
            except TooSlowError:
                return
            self.taken.append(message)
            self.confirming.append((proof, told))

    @precondition(lambda self: self.ending)
    @rule(close=closes)
    def close_by_api(self, close: Close) -> None:
        """A DELETE of the ws_uri."""
        listed = self.registry.get("key") is not None
        if listed:
            self.dropping = True
            self.cause(ClosedBy.API)
            assert self.connection.close(close, ClosedBy.API)
        elif self.opened:
            assert not self.connection.close(close, ClosedBy.API)

    # The gateway

    @rule(seconds=seconds)
    def look(self, seconds: float) -> None:
        """Time passes, and the connection is checked when it is due."""
        self.clock.advance(seconds if self.ending else min(seconds, 0.1))
        before = self.peer.aborted
        for connection in self.totals.due.take(self.clock.seconds(), 10):
            connection.check(self.clock.seconds())
        if self.peer.aborted and not before:
            by = self.connection._end.by if self.connection._end else None
            assert by is not None
            self.cause(by)

    @precondition(lambda self: self.ending)
    @rule()
    def shut_down(self) -> None:
        """The process is told to stop."""
        for connection in self.registry:
            self.dropping = True
            self.cause(ClosedBy.SHUTDOWN)
            connection.shut_down()

    @precondition(lambda self: self.ending and self.connected)
    @rule()
    def break_down(self) -> None:
        """A fault in the peer."""
        self.dropping = self.dropping or self.first_cause is None
        self.cause(ClosedBy.ERROR)
        self.connection.broke()

    @precondition(lambda self: self.connected and self.peer.aborted)
    @rule()
    def lose_what_is_aborted(self) -> None:
        """An abort is followed by the end of TCP."""
        self.lose()

    # What has to hold

    @property
    def waiting(self) -> list[Message]:
        """The client's messages that no PUT was begun for."""
        return list(self.connection._inbox._waiting)

    @invariant()
    def time_goes_on(self) -> None:
        """One event less before the end."""
        self.remaining -= 1

    @invariant()
    def calls_are_in_order(self) -> None:
        """One at a time: the POST, PUTs with consecutive numbers, perhaps repeated, at most one DELETE."""
        assert self.calls.overlaps == 0
        begun = [name for name, _ in groupby(self.calls.begun)]
        puts = [f"PUT {number + 1}" for number in range(len(self.calls.messages))]
        assert begun in (["POST", *puts], ["POST", *puts, "DELETE"]), begun

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        """Delivered, undelivered, waiting or on its way."""
        inbox = self.connection._inbox
        on_its_way = inbox.awaits_answer
        assert on_its_way == (self.putting or self.retrying)
        assert not (self.putting and self.retrying)
        assert self.received == self.settled + inbox.undelivered + len(inbox._waiting) + on_its_way
        assert self.received == self.connection.traffic.messages_in

    @invariant()
    def memory_is_bounded(self) -> None:
        """In both directions."""
        inbox = self.connection._inbox
        waiting = self.waiting + ([inbox._in_flight] if inbox._in_flight else [])
        size = sum(len(message.payload) for message in waiting)
        assert inbox._bytes == size <= MAX_BUFFER
        assert len(self.waiting) <= MAX_WAITING
        held = self.connection.outbox._held or []
        assert len(held) <= MAX_HELD
        assert sum(len(message.payload) for message in held) <= MAX_BUFFER
        # Above the bound: the header of the last frame, one reply before a Close, the Close, a ping of either kind.
        assert self.peer.buffered <= MAX_BUFFER + 2 + (MAX_MESSAGE + 2) + 10 + 2 + 18
        assert len(self.pending) <= MAX_CONFIRMING

    @invariant()
    def the_client_gets_what_was_taken_in_order(self) -> None:
        """And all of it before a Close; nothing after it."""
        sent = self.peer.messages
        assert sent == self.taken[: len(sent)]
        assert len(self.peer.closes) <= 1
        if self.peer.closes:
            assert self.peer.frames[-1] == self.peer.closes[0]
            assert sent == self.taken
        assert len(sent) == self.connection.traffic.messages_out

    @invariant()
    def the_registry_is_right(self) -> None:
        """Addressed while nothing ended it; unfinished until its DELETE is done."""
        over = self.connection.state is State.OVER
        assert (self.registry.get("key") is not None) == (self.first_cause is None and not self.refused)
        assert len(self.registry) == (not over or self.calls.pending is not None or self.retrying or self.busy)

    @invariant()
    def an_open_connection_is_looked_at(self) -> None:
        """At some time; nothing of one that is over stands in the wheel."""
        due = self.totals.due
        assert (self.connection.bucket is not None) == len(due) <= 1
        if self.connection.state is State.OPEN:
            assert len(due) == 1
        elif self.connection.state is State.OVER:
            assert len(due) == 0

    @invariant()
    def reading_follows_room(self) -> None:
        """A client that is open is read unless there is no room for its next message."""
        if self.connected and self.first_cause is None:
            assert not (self.peer.reading and self.connection._inbox.is_full)
            assert self.peer.reading or not self.connection._inbox.is_idle or self.connection.is_blocked

    @property
    def pending(self) -> list[int]:
        """The number of the ping that confirms it, for each push that waits."""
        return [proof for proof, told in self.confirming if not told]

    @invariant()
    def confirmed_is_what_was_proved(self) -> None:
        """Each pusher is told once; that the message arrived only after a pong that proves it, and then at once."""
        for proof, told in self.confirming:
            assert len(told) <= 1
            if told == [True]:
                assert proof <= self.answered_ping
        assert all(proof > self.answered_ping for proof in self.pending)
        if self.lost or self.left or self.refused or self.client_closed:
            assert not self.pending

    @invariant()
    def nobody_is_read_while_a_message_is_tried_again(self) -> None:
        """The client's turn is over until it is through."""
        if self.connected and self.first_cause is None and self.connection._inbox._retry is not None:
            assert not self.peer.reading

    @property
    def busy(self) -> bool:
        """Whether what an answer publishes is not done yet."""
        return self.publishing is not None

    @invariant()
    def no_callback_overtakes_what_an_answer_publishes(self) -> None:
        """None is on its way meanwhile, not even the DELETE; nobody is read while there is no room for it."""
        assert not (self.busy and (self.calls.pending is not None or self.retrying))
        if self.stalled and self.connected and self.first_cause is None:
            assert not self.peer.reading

    @invariant()
    def nothing_is_tried_again_for_too_long(self) -> None:
        """Nor after an end that gives messages up."""
        if self.retrying:
            assert self.retry_for
            assert not self.dropping
            assert self.clock.seconds() <= self.calls.first_began + self.retry_for

    @invariant()
    def something_will_end_it(self) -> None:
        """A connection that has an end and a client waits for a PUT's answer or has a timer or was aborted."""
        timers = len(self.clock.getDelayedCalls()) - len(self.pending) - self.retrying
        assert timers in (0, 1)
        if self.connected and self.first_cause is not None:
            assert timers or self.peer.aborted or self.putting or self.busy
        else:
            assert not timers

    def teardown(self) -> None:
        """Bring everything to its end, as time would; then nothing may be left."""
        if not hasattr(self, "connection"):
            return
        if self.calls.begun == ["POST"] and self.calls.pending is not None:
            self.needs_disconnect = True
            self.calls.answer(Grant())
        if self.connected:
            self.cause(ClosedBy.SHUTDOWN)
            self.connection.shut_down()
            assert not self.retrying
            if self.putting:
                self.settled += 1
                self.calls.answer(Delivered())
            if self.busy:
                self.publish()
            self.clock.pump([CLOSE_TIMEOUT] * CLOSE_ROUNDS)
            assert self.peer.aborted
            self.lost = True
            self.connection.lost()
        while self.putting or self.retrying or self.busy:
            if self.busy:
                self.publish()
                continue
            if self.retrying:
                self.clock.advance(LONGEST_PAUSE)
            self.settled += 1
            self.calls.answer(Delivered())
        self.calls_are_in_order()
        self.every_message_is_accounted_for()
        assert len(self.calls.disconnects) == self.needs_disconnect
        for end, undelivered in self.calls.disconnects:
            assert end.by is self.first_cause
            assert undelivered == self.received - self.settled
        if self.calls.pending is not None:
            self.calls.answer()
        assert len(self.registry) == 0
        assert self.registry.get("key") is None
        assert self.pending == []
        budgets = self.totals.budgets
        assert (budgets.incoming.used, budgets.outgoing.used, self.totals.asking) == (0, 0, 0)
        assert self.clock.getDelayedCalls() == []
        assert self.connection.state is State.OVER
        self.freed_at_once()

    def freed_at_once(self) -> None:
        """No cycle keeps a connection until a full collection."""
        reference = weakref.ref(self.connection)
        collecting = gc.isenabled()
        gc.disable()
        try:
            del self.connection
            assert reference() is None, gc.get_referrers(reference())
        finally:
            if collecting:
                gc.enable()


class ConnectionPropertiesTests(SynchronousTestCase):
    """Any order of events."""

    def test_what_has_to_hold_holds(self) -> None:
        """Whatever client, API and time do."""
        run_courses(OneConnection, 140, 50)
