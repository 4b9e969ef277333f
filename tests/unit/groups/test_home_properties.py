"""Arbitrary joins, leaves, publishes, pushes, closes and slow members between slices (protocol §6.4 and §6.6).

The model knows little: which publications each member must have, because it was a member all the time from before one
began, and which it may have. Whatever happens, each client's stream is in the one order of the publications, without a
gap in those that it must have, or its connection is ending.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import TimeOfDay, Turning
from tests.properties import run_courses
from tests.unit.groups.case import Client, text
from wsaas.connections.messages import Close, ClosedBy, Delivered, Publication, Reached
from wsaas.connections.registry import Registry
from wsaas.connections.settings import ConnectionSettings
from wsaas.connections.states import State
from wsaas.connections.totals import Shared, Totals
from wsaas.errors import Denied, NotPresentError, OverloadedError, TooManyGroupsError, TooSlowError
from wsaas.groups.home import Home
from wsaas.groups.names import EVERYONE, group, user
from wsaas.groups.orders import CloseAll, JoinAll, LeaveAll
from wsaas.groups.repeats import SECONDS
from wsaas.groups.turns import Turns

GROUPS, USERS = ("a", "b", "c"), ("ann", "bob")
TARGETS = (*map(group, GROUPS), *map(user, USERS), EVERYONE)
CLIENTS, MAX_GROUPS, MAX_BUFFER = 6, 2, 2500

_clients = st.integers(0, CLIENTS - 1)
_groups = st.sampled_from(GROUPS)
_sizes = st.sampled_from([10, 1000])


class Published:
    """One publication, as the test knows it.

    :param number: its place in the order
    :param publication: what was asked for
    :param before: who was a member of its targets when it came
    """

    def __init__(self, number: int, publication: Publication, before: set[int]) -> None:
        self.number = number
        self.content = publication.message.payload.decode()
        self.publication = publication
        #: Who was a member of the targets from before it came until now, or until it was done.
        self.members = before
        #: Who was a member at some time since.
        self.perhaps = set(before)
        self.reached: Reached | None = None


class ManyConnections(RuleBasedStateMachine):
    """Some clients, some groups, and a reactor that turns when it likes; a slice is three members."""

    @initialize(fast=st.booleans(), waiting=st.integers(0, 2))
    def begin(self, fast: bool, waiting: int) -> None:
        """Clients connect; some wait for the API."""
        self.clock = Turning()
        self.clock.advance(1000)
        self.registry, self.totals = Registry(), Totals()
        self.home = Home(self.registry, self.totals, self.clock, MAX_GROUPS, lambda: 8)
        outgoing = self.totals.budgets.outgoing
        self.home.turns = self.home.publishing._turns = Turns(self.clock, 3, 5, outgoing)
        now = TimeOfDay(self.clock, 1e9)
        limits = ConnectionSettings(0.0, 1000, MAX_BUFFER, MAX_GROUPS)
        self.shared = Shared(limits, self.registry, self.totals, self.clock, now, self.home)
        self.clients = [Client(number, self.shared) for number in range(CLIENTS)]
        for client in self.clients:
            client.peer.fast = fast
        for client in self.clients[waiting:]:
            client.open()
        self.published: list[Published] = []
        self.number = 0
        #: What each was pushed or published, and was told it would get, in order.
        self.promised: list[list[str]] = [[] for _ in self.clients]
        self.closing: list[Deferred[Any]] = []
        #: What each member of the order has got, by content.
        self.pushed: set[str] = set()
        #: Whether somebody was refused by the API, and forgot what was held.
        self.refused: set[int] = set()
        #: Counts that cannot be.
        self.wrong: list[str] = []
        #: Whether what is under way is broken off.
        self.stopping = False

    def text(self, size: int) -> str:
        """:returns: another text each time"""
        self.number += 1
        return f"{self.number:06}".ljust(size, ".")

    def members(self, target: str) -> set[int]:
        """:returns: who is a member, as the connections themselves know it"""
        return {
            number
            for number, client in enumerate(self.clients)
            if not client.connection.outbox.shut
            and (client.connection.state is State.OPEN if target == EVERYONE else target in client.connection.groups)
        }

    def look(self) -> None:
        """See who is a member of what is under way."""
        for each in self.published:
            if each.reached is None:
                now = set().union(*map(self.members, each.publication.targets))
                each.members &= now
                each.perhaps |= now

    # Events

    @rule(who=_clients, names=st.lists(_groups, max_size=3))
    def join(self, who: int, names: list[str]) -> None:
        """All or none."""
        connection = self.clients[who].connection
        before = connection.groups
        try:
            joined = self.home.join(connection, names)
        except (TooManyGroupsError, OverloadedError):
            assert connection.groups == before
        else:
            assert joined == len(connection.groups) - len(before)
        self.look()

    @rule(who=_clients, names=st.none() | st.lists(_groups, max_size=3))
    def leave(self, who: int, names: list[str] | None) -> None:
        """Some or all."""
        connection = self.clients[who].connection
        before = connection.groups
        assert self.home.leave(connection, names) == len(before) - len(connection.groups)
        self.look()

    @rule(who=_clients, name=st.none() | st.sampled_from(USERS))
    def change_user(self, who: int, name: str | None) -> None:
        """Or remove it."""
        self.home.set_user(self.clients[who].connection, name)
        self.look()

    @rule(
        to=st.lists(st.sampled_from((EVERYONE, *TARGETS)), min_size=1, max_size=3, unique=True),
        size=_sizes,
        left_out=st.none() | _clients,
        skips=st.booleans(),
        key=st.none() | st.sampled_from([b"k", b"l"]),
    )
    def publish(self, to: list[str], size: int, left_out: int | None, skips: bool, key: bytes | None) -> None:
        """To some targets; without room for it nothing happens."""
        tags = frozenset() if left_out is None else frozenset({self.clients[left_out].tag})
        publication = Publication(tuple(to), text(self.text(size)), tags, skips, key)
        earlier = None if key is None else self.home.repeats._known.get(key)
        known = earlier is not None and (earlier.reached is None or self.clock.seconds() - earlier.at < SECONDS)
        each = Published(self.number, publication, set().union(*map(self.members, to)))
        if not known:
            self.published.append(each)
        try:
            deferred = self.home.publish(publication)
        except OverloadedError:
            if not known:
                self.published.pop()
            return
        deferred.addCallback(self._reached, each, known)
        self.look()

    def _reached(self, reached: Reached, each: Published, known: bool) -> None:
        if known:
            return  # the counts are those of another one
        self.look()
        each.reached = reached
        total = reached.sent + reached.held + reached.skipped + reached.closed + reached.left_out
        if not (reached.members == total <= len(each.perhaps) and (self.stopping or total >= len(each.members))):
            self.wrong.append(f"{reached}, of {each.members} and perhaps {each.perhaps}")

    @rule(who=_clients, size=_sizes)
    def push(self, who: int, size: int) -> None:
        """Between slices."""
        content = self.text(size)
        try:
            self.clients[who].connection.outbox.push(text(content))
        except (NotPresentError, TooSlowError):
            return
        self.pushed.add(content)

    @rule(who=_clients, reply=st.booleans(), size=_sizes)
    def message(self, who: int, reply: bool, size: int) -> None:
        """A client sends; the API replies, or not."""
        client = self.clients[who]
        if client.connection.state is not State.OPEN:
            return
        if client.calls.pending is None:
            client.connection.received(text("question"))
        if client.calls.pending is None:
            return  # an earlier reply waits
        content = self.text(size)
        if reply:
            self.pushed.add(content)
        client.calls.answer(Delivered(reply=text(content)) if reply else Delivered())
        self.look()

    @rule(who=_clients)
    def stall(self, who: int) -> None:
        """A client does not read, and a reply waits for room."""
        peer = self.clients[who].peer
        peer.fast = False
        peer.buffered = max(peer.buffered, MAX_BUFFER - 700)
        self.message(who, True, 1000)

    @rule(who=_clients, fast=st.booleans())
    def read(self, who: int, fast: bool) -> None:
        """A client begins to read, or stops."""
        peer = self.clients[who].peer
        peer.fast = fast
        if fast:
            peer.flush()
            self.clients[who].connection.drained()

    @rule(who=_clients, size=st.integers(1, 3000))
    def read_some(self, who: int, size: int) -> None:
        """A client reads a little."""
        self.clients[who].peer.flush(size)
        if not self.clients[who].peer.buffered:
            self.clients[who].connection.drained()

    @rule(who=_clients, how=st.sampled_from(["api", "client", "lost"]))
    def close(self, who: int, how: str) -> None:
        """By whom it may be."""
        connection = self.clients[who].connection
        if connection.state is State.AUTHORISING or connection.state is State.OVER:
            return
        if how == "api":
            connection.close(Close(1000), ClosedBy.API)
        elif how == "client":
            connection.closed_by_client(Close(1000))
        else:
            connection.lost()
        self.look()

    @rule(who=_clients, granted=st.booleans())
    def answer(self, who: int, granted: bool) -> None:
        """The API lets a client in, or not."""
        client = self.clients[who]
        if client.connection.state is not State.AUTHORISING:
            return
        if granted:
            client.open()
        else:
            self.refused.add(who)
            client.calls.answer(Denied("no", 403))
        self.look()

    @rule(to=st.sampled_from(TARGETS[:-1]), name=_groups, what=st.sampled_from(["close", "leave", "join"]))
    def order(self, to: str, name: str, what: str) -> None:
        """Something for all members."""
        home: Any = self.home
        orders = {
            "close": (home.close_all, CloseAll(to, Close(1000))),
            "leave": (home.leave_all, LeaveAll(to, name)),
            "join": (home.join_all, JoinAll(to, name)),
        }
        act, order = orders[what]
        try:
            done = act(order)
        except OverloadedError:
            return
        done.addErrback(lambda failure: failure.trap(OverloadedError) and None)
        self.closing.append(done)
        self.look()

    @rule()
    def turn(self) -> None:
        """One slice."""
        self.clock.turn()
        self.look()

    @rule(seconds=st.sampled_from([0.01, 0.05, 130.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.look()

    @rule(exhausted=st.booleans())
    def memory(self, exhausted: bool) -> None:
        """All the others take all of it, or leave some."""
        self.totals.budgets.outgoing.limit = 0 if exhausted else 1 << 30

    @precondition(lambda self: self.totals.budgets.outgoing.limit > 0)
    @rule()
    def finish(self) -> None:
        """Everything that waits is worked off, if there is memory."""
        for _ in range(40):
            self.clock.advance(0.05)
            self.look()
        assert len(self.home.turns) == 0
        assert all(each.reached is not None for each in self.published)
        assert all(done.called for done in self.closing)

    # What is always so

    @invariant()
    def one_order_without_gaps(self) -> None:
        """For everybody."""
        for number, client in enumerate(self.clients):
            got = client.got
            assert len(set(got)) == len(got), "somebody got something twice"
            published = [each for each in self.published if each.content in got]
            places = [got.index(each.content) for each in published]
            assert places == sorted(places), "somebody got things in another order"
            for each in self.published:
                if each.content in got:
                    assert number in each.perhaps and client.tag not in each.publication.left_out
                elif (
                    each.reached is not None
                    and number in each.members
                    and not each.publication.skips_slow
                    and client.tag not in each.publication.left_out
                    and client.connection.state is not State.AUTHORISING
                    and number not in self.refused
                ):
                    assert client.connection.outbox.shut, "somebody missed something and stays"

    @invariant()
    def nothing_overtakes(self) -> None:
        """Whatever a client got, it got it in the order in which that came, but for publications that waited."""
        for client in self.clients:
            latest = ""
            for content in client.got:
                # A publication may come later than what was begun after it; nothing comes later than one after it.
                if content in self.pushed:
                    assert content > latest
                latest = max(latest, content)

    @invariant()
    def the_sets_are_right(self) -> None:
        """As the connections themselves know it."""
        membership = self.home.membership
        for target in TARGETS:
            assert self.home.count(target) == len(self.members(target))
        inside = [client.connection for client in self.clients if not client.connection.outbox.shut]
        sets = {target for connection in inside for target in connection.groups}
        assert membership.groups == len([each for each in sets if each.startswith("groups/")])
        assert membership.users == len([each for each in sets if each.startswith("users/")])
        memberships = [each for connection in inside for each in connection.groups if each.startswith("groups/")]
        assert membership.memberships == len(memberships) <= 8
        for connection in inside:
            assert len([each for each in connection.groups if each.startswith("groups/")]) <= MAX_GROUPS

    @invariant()
    def counts_add_up(self) -> None:
        """The counters are those of all that are done; memory is given back."""
        assert not self.wrong
        done = Reached()
        for each in self.published:
            if each.reached is not None:
                done.add(each.reached)
        assert self.home.publishing.reached == done
        assert self.totals.counts.messages_out == sum(each.connection.traffic.messages_out for each in self.clients)
        waiting = [task.size for task in self.home.turns._tasks]
        assert self.home.turns.bytes == sum(waiting)
        if all(each.connection.state is State.OVER for each in self.clients):
            assert self.totals.budgets.outgoing.used == 0

    def teardown(self) -> None:
        """At the end of the process nobody waits any more."""
        if hasattr(self, "home"):
            self.stopping = True
            self.home.stop()
            assert not self.wrong
            assert all(each.reached is not None for each in self.published)
            assert not self.home.turns._tasks


class HomePropertiesTests(SynchronousTestCase):
    """The machine above."""

    def test_courses(self) -> None:
        """Of everything that can happen."""
        run_courses(ManyConnections, 60, 40)
