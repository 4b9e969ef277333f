"""What answers ask for about users and groups, in its order, and what waits for it (protocol §2.4)."""

from __future__ import annotations

from tests.unit.connections.test_connection import ConnectionCase, ending, sized, text
from wsaas.connections.connection import Connection, State
from wsaas.connections.inbox import MAX_WAITING
from wsaas.connections.messages import (
    SELF,
    Close,
    ClosedBy,
    Delivered,
    Grant,
    Message,
    Publication,
    Rejected,
    Remembered,
    Wishes,
)
from wsaas.errors import ClientLeftError, Denied, NoRoom, OverloadedError, Unusable

PUBLICATION = Publication(("groups/a",), Message(b"hello", False), frozenset({SELF}))
PUBLISH = Wishes(publication=PUBLICATION)


class GroupsCase(ConnectionCase):
    """A connection and real groups."""

    def answer(self, wishes: Wishes, state: str | None = None, **more: object) -> None:
        """The client sends a message, and the API answers."""
        self.connection.received(text("m"))
        self.calls.answer(Delivered(state, wishes=wishes, **more))  # type: ignore[arg-type]  # reply or close

    def full(self, _: object, __: object) -> int:
        """There is no room for a membership."""
        raise OverloadedError

    def members(self, target: str) -> list[Connection]:
        """:returns: who is in a group, or which connections a user has"""
        return self.groups.membership.members(target)


class GrantTests(GroupsCase):
    """What the answer to the POST asks for."""

    def test_before_the_101(self) -> None:
        """It has its user and its groups when it is let in."""
        self.ask()
        published = Publication(("groups/b", "users/bob"), Message(b"first", False))
        self.connection.outbox.push(text("pushed"))
        self.calls.answer(Grant(state="s", wishes=Wishes("bob", join=("a", "b"))))
        self.assertEqual(self.connection.remembered, Remembered("s", "bob"))
        self.assertEqual(self.connection.groups, ("users/bob", "groups/a", "groups/b"))
        self.successResultOf(self.groups.publish(published))
        self.assertEqual(self.peer.messages, [text("pushed"), text("first")])

    def test_held(self) -> None:
        """From the grant on, though the WebSocket is not open yet."""
        self.connection.authorise()
        self.calls.answer(Grant(wishes=Wishes(join=("a",))))
        reached = self.successResultOf(self.groups.publish(PUBLICATION))
        self.assertEqual((reached.held, reached.members), (1, 1))
        self.connection.open(self.peer, None)
        self.assertEqual(self.peer.messages, [text("hello")])

    def test_too_many_groups(self) -> None:
        """502 and a DELETE by ``error``; it has its user, and is in none of the groups."""
        self.ask()
        self.calls.answer(Grant(state="s", wishes=Wishes("bob", join=("a", "b", "c", "d"))))
        (error,) = self.failures
        self.assertIsInstance(error, Unusable)
        self.assertIn("WS_MAX_GROUPS", str(error))
        self.assertEqual(self.calls.remembered[-1], Remembered("s", "bob"))
        self.assertEqual((self.members("groups/a"), self.members("users/bob")), ([], []))
        self.assertEqual((self.totals.asking, self.totals.pending.number), (0, 1))
        self.finish(ending(1011, ClosedBy.ERROR))

    def test_no_room(self) -> None:
        """503, and a DELETE with 1013."""
        self.patch(self.groups, "join", self.full)
        self.ask()
        self.calls.answer(Grant(wishes=Wishes(join=("a",))))
        (error,) = self.failures
        self.assertIsInstance(error, NoRoom)
        self.finish(ending(1013, ClosedBy.UNREACHABLE))

    def test_a_fault(self) -> None:
        """The client is not let in, and nothing is left of it."""
        self.patch(self.groups, "set_user", None)
        self.ask()
        self.calls.answer(Grant(wishes=Wishes("bob")))
        self.assertEqual(len(self.failures), 1)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.finish(ending(1011, ClosedBy.ERROR))

    def test_the_client_left(self) -> None:
        """Its user is kept for the DELETE; it joins nothing."""
        self.ask()
        self.connection.left()
        self.calls.answer(Grant(wishes=Wishes("bob", join=("a",))))
        self.assertIsInstance(self.failures[0], ClientLeftError)
        self.assertEqual((self.members("groups/a"), self.members("users/bob")), ([], []))
        self.assertEqual((self.calls.remembered[-1], self.calls.groups), (Remembered(None, "bob"), ()))
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_closed_meanwhile(self) -> None:
        """As one that is closing: it is let in and closed."""
        self.ask()
        self.connection.close(Close(4000), ClosedBy.API)
        self.calls.answer(Grant(wishes=Wishes("bob", join=("a",))))
        self.assertEqual(self.members("groups/a"), [])
        self.assertEqual(self.peer.closes, [Close(4000)])
        self.lose()
        self.assertEqual((self.calls.remembered[-1], self.calls.groups), (Remembered(None, "bob"), ()))

    def test_refused(self) -> None:
        """A refusal leaves nothing behind."""
        self.ask()
        self.calls.answer(Denied("no", 403))
        self.nothing_left()


class AnswerTests(GroupsCase):
    """What the answers to PUTs ask for."""

    def test_a_user(self) -> None:
        """Every later callback has it; an empty one removes it; a state stays what it is, and the other way round."""
        self.open(Grant(state="s"))
        expected = [None, Remembered("s"), Remembered("s", "bob"), Remembered(None, "bob"), Remembered(None, "ann")]
        self.answer(Wishes("bob"))
        self.assertEqual(self.members("users/bob"), [self.connection])
        self.answer(Wishes(), state="")
        self.answer(Wishes("ann"))
        self.assertEqual((self.members("users/bob"), self.members("users/ann")), ([], [self.connection]))
        self.answer(Wishes(""))
        self.assertEqual(self.members("users/ann"), [])
        self.connection.received(text("m"))
        self.calls.answer(Delivered())
        self.lose()
        self.assertEqual(self.calls.remembered, [*expected, None, None])

    def test_leave_and_join(self) -> None:
        """First the one, then the other; all, or some; one that it is not in is no error."""
        self.open(Grant(wishes=Wishes(join=("a", "b", "c"))))
        self.answer(Wishes(leave=("a", "nothing"), join=("d",)))
        self.assertEqual(self.connection.groups, ("groups/b", "groups/c", "groups/d"))
        self.answer(Wishes(leaves_all=True, join=("c", "b")))
        self.assertEqual(self.connection.groups, ("groups/c", "groups/b"))
        self.lose()
        self.assertEqual(self.calls.groups, ("groups/c", "groups/b"))
        self.assertEqual(self.members("groups/b"), [])
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_too_many_groups(self) -> None:
        """1011; what comes before is done, what comes behind is not."""
        self.open(Grant(wishes=Wishes(join=("a", "b"))))
        wishes = Wishes("bob", False, ("a",), ("c", "d", "e"), PUBLICATION)
        self.answer(wishes, reply=text("r"))
        self.assertEqual((self.peer.frames, self.calls.publications), ([Close(1011)], []))
        self.lose()
        self.assertEqual(
            (self.calls.remembered[-1], self.calls.groups), (Remembered(None, "bob"), ("users/bob", "groups/b"))
        )
        self.finish(ending(1011, ClosedBy.ERROR))

    def test_no_room_for_a_membership(self) -> None:
        """1013. The API has the message, so it is not undelivered."""
        self.patch(self.groups, "join", self.full)
        self.open()
        self.answer(Wishes(join=("a",)))
        self.assertEqual(self.peer.closes, [Close(1013)])
        self.lose()
        self.finish(ending(1013, ClosedBy.UNREACHABLE))

    def test_closing(self) -> None:
        """It joins nothing any more; its state and its user are kept."""
        self.open(Grant(wishes=Wishes(join=("a",))))
        self.connection.received(text("m"))
        self.connection.close(Close(4000), ClosedBy.API)
        self.calls.answer(Delivered("s", wishes=Wishes("bob", True, (), ("b", "c", "d", "e"))))
        self.assertEqual((self.members("groups/b"), self.members("users/bob")), ([], []))
        self.lose()
        self.assertEqual((self.calls.remembered[-1], self.calls.groups), (Remembered("s", "bob"), ("groups/a",)))
        self.finish(ending(4000, ClosedBy.API))

    def test_a_rejection_asks_for_nothing(self) -> None:
        """Neither does an answer without any of it."""
        self.open(Grant(wishes=Wishes("bob", join=("a",))))
        for outcome in (Rejected(404), Delivered()):
            self.connection.received(text("m"))
            self.calls.answer(outcome)
        self.assertEqual(self.connection.groups, ("users/bob", "groups/a"))


class PublishTests(GroupsCase):
    """What an answer publishes, and what waits until that is done."""

    def test_in_its_order(self) -> None:
        """After the joins, before the reply and the close; the next PUT begins when all that is done."""
        self.open()
        for content in ("1", "2"):
            self.connection.received(text(content))
        wishes = Wishes("bob", join=("a",), publication=PUBLICATION)
        self.calls.answer(Delivered(reply=text("r"), wishes=wishes))
        self.assertEqual(self.calls.publications, [PUBLICATION])
        self.assertEqual(self.connection.groups, ("users/bob", "groups/a"))
        self.assertEqual(self.peer.frames, [])
        self.begun("POST", "PUT 1")
        self.calls.published()
        self.assertEqual(self.peer.messages, [text("r")])
        self.begun("POST", "PUT 1", "PUT 2")
        self.calls.answer(Delivered(close=Close(4000), wishes=PUBLISH))
        self.assertEqual(self.peer.closes, [])
        self.calls.published()
        self.assertEqual(self.peer.closes, [Close(4000)])

    def test_no_room_for_the_reply(self) -> None:
        """The publish does not wait for that; the next PUT waits for both."""
        self.open()
        self.fill()
        self.answer(PUBLISH, reply=sized(10))
        self.connection.received(text("2"))
        self.calls.published()
        self.begun("POST", "PUT 1")
        self.assertEqual(self.peer.messages, [])
        self.peer.flush()
        self.connection.drained()
        self.assertEqual(self.peer.messages, [sized(10)])
        self.begun("POST", "PUT 1", "PUT 2")

    def test_the_disconnect_waits(self) -> None:
        """Whoever ends it meanwhile; the reply is too late then."""
        for end, by in (
            (lambda: self.connection.closed_by_client(Close(1000)), ending(1000, ClosedBy.CLIENT)),
            (lambda: self.connection.close(Close(4000), ClosedBy.API), ending(4000, ClosedBy.API)),
            (self.connection_shut_down, ending(1001, ClosedBy.SHUTDOWN)),
            (lambda: None, ending(1006, ClosedBy.CLIENT)),
        ):
            self.begin()
            self.open()
            self.answer(PUBLISH, reply=text("r"))
            end()
            self.lose()
            self.begun("POST", "PUT 1")
            self.calls.published()
            self.assertEqual(self.peer.messages, [])
            self.finish(by)

    def connection_shut_down(self) -> None:
        """The process stops."""
        self.connection.shut_down()

    def test_a_client_that_broke_the_protocol(self) -> None:
        """It gets the reply to the message that was valid, and then its Close."""
        self.open()
        self.answer(PUBLISH, reply=text("r"))
        self.connection.failed_by_peer(Close(1002))
        self.assertEqual(self.peer.frames, [])
        self.calls.published()
        self.assertEqual(self.peer.frames, [text("r"), Close(1002)])

    def test_the_client_is_gone_already(self) -> None:
        """It is published all the same."""
        self.open()
        self.connection.received(text("m"))
        self.lose()
        self.calls.answer(Delivered(wishes=PUBLISH))
        self.assertEqual(self.calls.publications, [PUBLICATION])
        self.begun("POST", "PUT 1")
        self.calls.published()
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_messages_wait_meanwhile(self) -> None:
        """The client is read until there is no room for more; all of it is delivered."""
        self.open()
        self.answer(PUBLISH)
        for _ in range(MAX_WAITING):
            self.assertTrue(self.peer.reading)
            self.connection.received(text("x"))
        self.assertFalse(self.peer.reading)
        self.calls.published()
        self.calls.at_once.extend([Delivered()] * (MAX_WAITING - 1))
        self.calls.answer(Delivered())
        self.assertTrue(self.peer.reading)
        self.lose()
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_no_room_to_publish(self) -> None:
        """The client is not read until it is done, and does not count as silent."""
        self.open()
        self.answer(PUBLISH, reply=text("r"))
        self.assertTrue(self.peer.reading)
        self.calls.waits()
        self.assertFalse(self.peer.reading)
        self.assertEqual(self.totals.counts.paused, 1)
        self.connection.received(text("2"))
        self.wait(100)
        self.assertEqual((self.peer.reading, self.connection.state), (False, State.OPEN))
        self.begun("POST", "PUT 1")
        self.calls.published()
        self.assertEqual((self.peer.reading, self.totals.counts.paused), (True, 0))
        self.assertEqual(self.peer.messages, [text("r")])
        self.begun("POST", "PUT 1", "PUT 2")

    def test_no_room_to_publish_for_one_that_is_gone(self) -> None:
        """There is nobody to stop reading; the DELETE waits."""
        self.open()
        self.connection.received(text("m"))
        self.lose()
        self.calls.answer(Delivered(wishes=PUBLISH))
        self.calls.waits()
        self.assertEqual(self.totals.counts.paused, 0)
        self.begun("POST", "PUT 1")
        self.calls.published()
        self.finish(ending(1006, ClosedBy.CLIENT))

    def test_closed_while_it_waits_for_room(self) -> None:
        """The answer to the Close frame is read."""
        self.open()
        self.answer(PUBLISH)
        self.calls.waits()
        self.connection.close(Close(4000), ClosedBy.API)
        self.assertEqual((self.peer.reading, self.peer.closes), (True, [Close(4000)]))
        self.calls.published()
        self.begun("POST", "PUT 1")
        self.lose()
        self.finish(ending(4000, ClosedBy.API))

    def test_a_fault_of_the_reply(self) -> None:
        """1011, and the DELETE still follows."""
        self.open()
        self.answer(PUBLISH, reply=text("r"))
        self.peer.fault = RuntimeError("broken")
        self.calls.published()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.peer.closes, [Close(1011)])
        self.lose()
        self.finish(ending(1011, ClosedBy.ERROR))


class FormerTests(GroupsCase):
    """Connections that never asked for any of it."""

    def test_nothing_is_kept(self) -> None:
        """Neither groups nor a value of what is remembered."""
        self.open(Grant())
        self.assertEqual((self.connection.groups, self.connection.remembered), ((), None))
        self.lose()
        self.assertEqual((self.calls.remembered, self.calls.groups), ([None, None], ()))
