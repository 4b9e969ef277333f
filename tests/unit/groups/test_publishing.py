"""Publishing: counts, slow members, slices, memory, the end (protocol §6.4 and §6.6)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.unit.groups.case import MAX_BUFFER, MAX_MESSAGE, GroupsCase, got, text
from wsaas.connections.messages import Close, ClosedBy, Delivered, Grant, Publication, Reached
from wsaas.connections.outbox import MAX_HELD
from wsaas.connections.states import State
from wsaas.errors import Denied, OverloadedError
from wsaas.groups.names import EVERYONE, group, user
from wsaas.groups.orders import JoinAll
from wsaas.groups.publishing import MAX_BYTES, MAX_WAITING, SLICE
from wsaas.limits import OVERHEAD

SLOW = Close(1013)


class CountsTests(GroupsCase):
    """Who is reached."""

    def test_each_once(self) -> None:
        """Whoever is in several targets, too."""
        both, one, other = self.client("a", "b"), self.client("a"), self.client()
        self.home.set_user(both.connection, "ann")
        self.home.set_user(other.connection, "ann")
        targets = (group("a"), user("ann"), group("b"), group("none"))
        reached = self.successResultOf(self.home.publish(Publication(targets, text("x"))))
        self.assertEqual(reached, Reached(sent=3))
        self.assertEqual(got([both, one, other]), {("x",)})

    def test_everyone(self) -> None:
        """Whom the API has let in: not who waits for it, nor who is closing."""
        clients = [self.client(), self.client("a")]
        waiting, closing = self.waiting_client(), self.client()
        closing.connection.close(Close(1000), ClosedBy.API)
        reached = self.successResultOf(self.home.publish(Publication((EVERYONE,), text("x"))))
        self.assertEqual(reached, Reached(sent=2))
        self.assertEqual((got(clients), got([closing, waiting.open()])), ({("x",)}, {()}))
        self.assertEqual(self.home.count(EVERYONE), 3)

    def test_left_out(self) -> None:
        """They are counted, if they are members."""
        clients = self.clients(3, "a")
        tags = frozenset({clients[1].tag, self.client().tag, "unknown"})
        self.assertEqual(self.successResultOf(self.publish("x", "a", left_out=tags)), Reached(sent=2, left_out=1))
        self.assertEqual([client.got for client in clients], [["x"], [], ["x"]])

    def test_nobody(self) -> None:
        """Is no error."""
        self.assertEqual(self.successResultOf(self.publish("x", "a")).members, 0)

    def test_traffic(self) -> None:
        """It counts for each, and for all."""
        client = self.client("a")
        self.client("a")
        self.publish("hello", "a")
        traffic, counts = client.connection.traffic, self.totals.counts
        self.assertEqual((traffic.messages_out, traffic.bytes_out), (1, 5))
        self.assertEqual((counts.messages_out, counts.bytes_out), (2, 10))

    def test_totals(self) -> None:
        """For the metrics."""
        self.clients(2, "a")
        for _ in range(3):
            self.publish("x", "a")
        publishing = self.home.publishing
        self.assertEqual((publishing.done, publishing.reached.sent, publishing.refused), (3, 6, 0))
        self.assertGreaterEqual(sum(self.home.turns.seconds.counts), 1)

    def test_a_fault_in_one(self) -> None:
        """Does not keep the message from the others."""
        clients = self.clients(3, "a")
        clients[1].peer.fault = ZeroDivisionError()
        self.assertEqual(self.successResultOf(self.publish("x", "a")), Reached(sent=2, closed=1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([client.got for client in clients], [["x"], [], ["x"]])
        self.assertEqual(clients[1].closes, [Close(1011)])


class HandshakeTests(GroupsCase):
    """Members whose POST is not answered yet."""

    def test_held(self) -> None:
        """It goes out behind the 101, in order with pushes; counted when it is sent."""
        client = self.waiting_client()
        self.home.join(client.connection, ["a"])
        self.assertEqual(self.successResultOf(self.publish("1", "a")), Reached(held=1))
        client.connection.outbox.push(text("2"))
        self.publish("3", "a")
        self.assertEqual(self.totals.counts.messages_out, 0)
        client.open()
        self.publish("4", "a")
        self.assertEqual(client.got, ["1", "2", "3", "4"])
        self.assertEqual((self.totals.counts.messages_out, client.connection.traffic.messages_out), (4, 4))
        self.assertEqual(self.totals.budgets.outgoing.used, 0)

    def test_forgotten(self) -> None:
        """With the POST that is refused; what many hold counts once."""
        clients = [self.waiting_client() for _ in range(3)]
        for client in clients:
            self.home.join(client.connection, ["a"])
        self.publish("x" * 500, "a")
        self.assertEqual(self.totals.budgets.outgoing.used, 500 + OVERHEAD + 3 * OVERHEAD)
        clients[0].calls.answer(Denied("no", 403))
        clients[1].connection.left()
        clients[1].calls.answer(Grant())
        clients[2].open()
        self.assertEqual([client.got for client in clients], [[], [], ["x" * 500]])
        self.assertEqual(self.totals.budgets.outgoing.used, 0)

    def test_too_many(self) -> None:
        """The client gets its 101, what was held, and is closed: it missed one."""
        client = self.waiting_client()
        self.home.join(client.connection, ["a"])
        for number in range(MAX_HELD):
            self.assertEqual(self.successResultOf(self.publish(str(number), "a")).held, 1)
        self.assertEqual(self.successResultOf(self.publish("x", "a", skips_slow=True)), Reached(skipped=1))
        self.assertEqual(self.successResultOf(self.publish("x", "a")), Reached(closed=1))
        self.assertEqual(self.successResultOf(self.publish("x", "a")), Reached())
        client.open()
        self.assertEqual(client.got, [str(number) for number in range(MAX_HELD)])
        self.assertEqual(client.closes, [SLOW])

    def test_too_much(self) -> None:
        """By bytes, too."""
        client = self.waiting_client()
        self.home.join(client.connection, ["a"])
        for _ in range(MAX_BUFFER // MAX_MESSAGE):
            self.assertEqual(self.successResultOf(self.publish("x" * MAX_MESSAGE, "a")).held, 1)
        self.assertEqual(self.successResultOf(self.publish("x", "a")), Reached(closed=1))


class SlowTests(GroupsCase):
    """Members without room."""

    def test_closed(self) -> None:
        """With 1013; what the client had sent before is still delivered, and the DELETE says slow."""
        client = self.client("a")
        client.connection.received(text("1"))
        client.connection.received(text("2"))
        client.peer.fast = False
        client.peer.buffered = MAX_BUFFER
        self.assertEqual(self.successResultOf(self.publish("x", "a")), Reached(closed=1))
        self.assertEqual(client.closes, [SLOW])
        self.assertIs(client.connection.state, State.CLOSING)
        client.calls.answer(Delivered(reply=text("too late")))
        # It sent this before it saw the Close.
        client.connection.received(text("3"))
        client.connection.lost()
        client.calls.answer(Delivered())
        client.calls.answer(Delivered())
        self.assertEqual(client.calls.begun, ["POST", "PUT 1", "PUT 2", "PUT 3", "DELETE"])
        end, undelivered = client.calls.disconnects[0]
        self.assertEqual((end.close, end.by, undelivered), (SLOW, ClosedBy.SLOW, 0))
        self.assertEqual(client.got, [])

    def test_back_pressure_until_the_end(self) -> None:
        """A client that is closing is not read either while there is no room for its messages."""
        client = self.client("a")
        client.peer.fast = False
        client.peer.buffered = MAX_BUFFER
        self.publish("x", "a")
        while client.peer.reading:
            client.connection.received(text("y" * MAX_MESSAGE))
        while client.calls.messages[-1].payload and not client.peer.reading:
            client.calls.answer(Delivered())
        self.assertTrue(client.peer.reading)
        self.assertEqual(
            client.connection.traffic.messages_in,
            client.connection._inbox._number + len(client.connection._inbox._waiting),
        )

    def test_skipped(self) -> None:
        """It stays, and gets later ones."""
        client = self.client("a")
        client.peer.fast = False
        client.peer.buffered = MAX_BUFFER
        self.assertEqual(self.successResultOf(self.publish("1", "a", skips_slow=True)), Reached(skipped=1))
        client.peer.flush()
        self.assertEqual(self.successResultOf(self.publish("2", "a", skips_slow=True)), Reached(sent=1))
        self.assertEqual((client.got, client.closes), (["2"], []))

    def test_to_the_byte(self) -> None:
        """``WS_MAX_BUFFER`` is all of it; or too many frames wait."""
        client = self.client("a")
        client.peer.fast = False
        client.peer.buffered = MAX_BUFFER - 5
        self.assertEqual(self.successResultOf(self.publish("12345", "a")), Reached(sent=1))
        other = self.client("b")
        other.peer.full = True
        self.assertEqual(self.successResultOf(self.publish("1", "b")), Reached(closed=1))

    def test_a_reply_that_waits(self) -> None:
        """Nothing overtakes it. If there is no room for it, there is none for the message."""
        client = self.client("a")
        client.peer.fast = False
        client.peer.buffered = MAX_BUFFER - 5
        client.connection.received(text("question"))
        client.calls.answer(Delivered(reply=text("a long reply")))
        self.assertEqual(client.got, [])
        self.assertEqual(self.successResultOf(self.publish("1", "a", skips_slow=True)), Reached(skipped=1))
        self.assertEqual(self.successResultOf(self.publish("2", "a")), Reached(closed=1))
        self.assertEqual(client.got, ["a long reply"])
        self.assertEqual(client.closes, [SLOW])

    def test_a_reply_that_waits_for_others(self) -> None:
        """It goes first where the client's own room has place for both; and the next PUT starts."""
        client = self.client("a")
        client.peer.fast = False
        client.peer.buffered = 10
        client.peer.crowded = True
        client.connection.received(text("1"))
        client.connection.received(text("2"))
        client.calls.answer(Delivered(reply=text("reply")))
        self.assertEqual((client.got, client.calls.begun[-1]), ([], "PUT 1"))
        self.assertEqual(self.successResultOf(self.publish("x", "a")), Reached(sent=1))
        self.assertEqual(client.got, ["reply", "x"])
        self.assertEqual(client.calls.begun[-1], "PUT 2")
        self.assertEqual(self.totals.budgets.outgoing.used, 0)

    def test_it_is_looked_at_soon(self) -> None:
        """A client that does not read what was published is found out like any other."""
        client = self.client("a")
        client.peer.fast = False
        self.publish("x", "a")
        for _ in range(40):
            self.clock.advance(1)
            for connection in self.totals.due.take(self.clock.seconds(), 100):
                connection.check(self.clock.seconds())
        self.assertTrue(client.peer.aborted)
        self.assertEqual(self.home.count(group("a")), 0)


class SlicesTests(GroupsCase):
    """Many members, and the reactor between them."""

    def test_slices(self) -> None:
        """So many a turn, the first at once."""
        clients = self.clients(2 * SLICE + 1, "a")
        publishing = self.publish("x", "a")
        for reached in (SLICE, 2 * SLICE):
            self.assertEqual(sum(len(client.got) for client in clients), reached)
            self.assertNoResult(publishing)
            self.turn()
        self.assertEqual(self.successResultOf(publishing), Reached(sent=2 * SLICE + 1))

    def test_one_after_the_other(self) -> None:
        """In one order for all; pushes go between."""
        clients = self.clients(SLICE + 1, "a")
        first, second = self.publish("1", "a"), self.publish("2", "a")
        clients[-1].connection.outbox.push(text("push"))
        self.turn()
        self.successResultOf(first)
        self.turn()
        self.successResultOf(second)
        self.assertEqual(got(clients[:-1]), {("1", "2")})
        self.assertEqual(clients[-1].got, ["push", "1", "2"])

    def test_small_ones_share_a_slice(self) -> None:
        """A thousand requests in one turn are not a thousand slices."""
        self.clients(SLICE // 2, "a")
        done = [self.publish(str(number), "a") for number in range(6)]
        self.assertEqual([each.called for each in done], [True, True] + 4 * [False])
        self.turn()
        self.assertEqual([each.called for each in done], 4 * [True] + 2 * [False])
        self.turn()
        self.assertTrue(all(each.called for each in done))
        self.clock.advance(0.01)
        self.assertTrue(self.publish("later", "a").called)

    def test_who_comes_and_goes(self) -> None:
        """Who left or is closing is not counted; who comes meanwhile is not met."""
        clients = self.clients(SLICE + 3, "a")
        publishing = self.publish("x", "a")
        self.home.leave(clients[-1].connection, ["a"])
        clients[-2].connection.close(Close(1000), ClosedBy.API)
        late = self.client("a")
        self.turn()
        self.assertEqual(self.successResultOf(publishing), Reached(sent=SLICE + 1))
        self.assertEqual(got([clients[-1], clients[-2], late]), {()})

    def test_joins_in_order(self) -> None:
        """What is published after joining by user was asked for reaches those who join."""
        clients = self.clients(SLICE + 1)
        for client in clients:
            self.home.set_user(client.connection, "ann")
        self.home.join_all(JoinAll(user("ann"), "a"))
        publishing = self.publish("x", "a")
        self.turn(3)
        self.assertEqual(self.successResultOf(publishing), Reached(sent=SLICE + 1))

    def test_long_messages(self) -> None:
        """The kernel copies them, so fewer members have their turn."""
        clients = self.clients(10, "a")
        for client in clients:
            client.connection.outbox._room = 1 << 30
        message = text("x" * (1 << 21))
        publishing = self.home.publish(Publication((group("a"),), message))
        self.assertEqual(sum(len(client.got) for client in clients), 2)
        self.turn(10)
        self.assertEqual(self.successResultOf(publishing), Reached(sent=10))


class BoundsTests(GroupsCase):
    """What there may be, and what happens beyond it."""

    def full(self) -> list[Deferred[Reached]]:
        """Fill the queue."""
        self.clients(SLICE + 1, "a")
        return [self.publish("x", "a") for _ in range(MAX_WAITING)]

    def test_too_many(self) -> None:
        """Nothing is sent of one more."""
        done = self.full()
        client = self.client("b")
        self.assertRaises(OverloadedError, self.publish, "x", "b")
        self.assertRaises(OverloadedError, self.home.join_all, JoinAll(user("ann"), "b"))
        self.assertEqual(self.home.publishing.refused, 1)
        self.turn(2 * MAX_WAITING)
        self.assertTrue(all(each.called for each in done))
        self.assertEqual(client.got, [])
        self.assertEqual((len(self.home.turns), self.home.turns.bytes), (0, 0))

    def test_too_many_bytes(self) -> None:
        """One message is always taken, however long it is."""
        self.clients(SLICE + 1, "a")
        self.publish("x", "a")
        message = text("x" * MAX_BYTES)
        self.assertRaises(OverloadedError, self.home.publish, Publication((group("b"),), message))
        self.turn()
        self.successResultOf(self.home.publish(Publication((group("b"),), message)))

    def test_no_memory(self) -> None:
        """None begins; one that has begun waits, without asking all the time; nobody is closed."""
        clients = self.clients(SLICE + 1, "a")
        publishing = self.publish("x", "a")
        outgoing = self.totals.budgets.outgoing
        limit, outgoing.limit = outgoing.limit, 0
        self.assertRaises(OverloadedError, self.publish, "y", "a")
        for _ in range(10):
            self.turn(5)
            self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)
            self.clock.advance(1)
        self.assertNoResult(publishing)
        outgoing.limit = limit
        self.clock.advance(0.05)
        self.assertEqual(self.successResultOf(publishing), Reached(sent=SLICE + 1))
        self.assertEqual({tuple(client.closes) for client in clients}, {()})

    def test_stop(self) -> None:
        """At the end of the process whoever waits is told; also whoever comes later."""
        self.clients(SLICE + 1, "a")
        publishing, joining = self.publish("x", "a"), self.home.join_all(JoinAll(user("ann"), "b"))
        listing = self.home.list_members(group("a"), "", 10)
        self.successResultOf(self.home.stop())
        self.assertEqual(self.successResultOf(publishing), Reached(sent=SLICE))
        self.successResultOf(joining)
        self.successResultOf(listing)
        self.successResultOf(self.publish("y", "a"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_in_the_middle(self) -> None:
        """Of a slice: nobody is told twice."""
        (client,) = self.clients(1, "a")
        client.peer.send_shared = lambda *_: self.home.stop() and None  # type: ignore[method-assign, assignment]  # at the worst moment
        self.successResultOf(self.publish("x", "a", skips_slow=True))
        self.assertEqual((client.got, len(self.home.turns), self.home.turns.bytes), ([], 0, 0))

    def test_a_fault_of_our_own(self) -> None:
        """Those behind it have their turn."""
        self.clients(2, "a")
        self.patch(self.home.membership, "members", lambda _: 1 / 0)
        self.failureResultOf(self.publish("x", "a"), ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        del self.home.membership.members
        self.assertEqual(self.successResultOf(self.publish("y", "a")), Reached(sent=2))

    def test_drain(self) -> None:
        """When all are closed, what is under way ends by itself, even without memory."""
        clients = self.clients(SLICE + 1, "a")
        publishing = self.publish("x", "a")
        for client in clients:
            client.connection.shut_down()
        self.turn()
        self.assertEqual(self.successResultOf(publishing), Reached(sent=SLICE))

    def test_full_users(self) -> None:
        """Those in as many groups as they may be are counted; without memberships it fails."""
        self.most = 2
        clients = self.clients(3)
        for client in clients:
            self.home.set_user(client.connection, "ann")
        self.failureResultOf(self.home.join_all(JoinAll(user("ann"), "a")), OverloadedError)
        self.assertEqual(self.home.count(group("a")), 2)
