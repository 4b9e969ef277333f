"""What a connection tells the journal (protocol §2.1)."""

from __future__ import annotations

from tests.fakes import PendingJournal
from tests.unit.connections.test_connection import ConnectionCase, ending, text
from wsaas.connections.connection import State
from wsaas.connections.messages import Close, ClosedBy, Delivered, Grant, Publication, Remembered, Wishes
from wsaas.errors import Denied, NoAnswer, NotTried


class JournaledTests(ConnectionCase):
    """The connection is recorded before its POST is sent, and kept until its DELETE is done."""

    def setUp(self) -> None:
        """Make a connection whose POST is not sent yet."""
        self.pending = self.journal = PendingJournal()
        super().setUp()

    def told(self, *expected: tuple[object, ...]) -> None:
        """Check what the journal was told since the last time."""
        self.assertEqual(self.pending.told, list(expected))
        self.pending.told.clear()

    def recorded(self) -> None:
        """Come to the POST."""
        self.ask()
        self.pending.record()
        self.told(("begin", "key", b"/chat"))

    def test_the_post_waits(self) -> None:
        """Until the record is on disk; pushes find the connection before."""
        self.ask()
        self.begun()
        self.assertIs(self.registry.get("key"), self.connection)
        self.pending.record()
        self.begun("POST")
        self.calls.answer(Grant())
        self.assertIs(self.connection.state, State.OPEN)
        self.told(("begin", "key", b"/chat"))

    def test_a_debt_that_cannot_be_taken_down(self) -> None:
        """Then the API is not asked and no DELETE is needed; only the journal logs it, once."""
        self.ask()
        error = NotTried("the disk is full", 5)
        self.pending.record(error)
        self.begun()
        self.assertEqual(self.failures, [error])
        self.told(("begin", "key", b"/chat"), ("settle", "key"))
        self.nothing_left()

    def test_who_leaves_before_the_post(self) -> None:
        """Or is closed by the end of the process: the API is not asked."""
        for leave in (self.leave, self.shut_down):
            self.setUp()
            self.ask()
            leave()
            self.pending.record()
            self.begun()
            self.assertIsInstance(self.failures[0], NotTried)
            self.told(("begin", "key", b"/chat"), ("settle", "key"))
            self.nothing_left()

    def leave(self) -> None:
        """The client goes."""
        self.connection.left()

    def shut_down(self) -> None:
        """The process goes."""
        self.connection.shut_down()

    def test_a_refusal(self) -> None:
        """No DELETE is needed."""
        self.recorded()
        self.calls.answer(Denied("no", 403))
        self.told(("settle", "key"))

    def test_no_answer(self) -> None:
        """What the DELETE says is recorded; its sender removes the record."""
        self.recorded()
        self.calls.answer(NoAnswer("cut"))
        self.told(("ended", "key", ending(1013, ClosedBy.UNREACHABLE), 0))
        self.calls.answer()
        self.told()

    def test_a_life(self) -> None:
        """Each state, if there is one; the end, with what was dropped."""
        self.recorded()
        self.calls.answer(Grant(state="a"))
        self.told(("remember", "key", Remembered("a")))
        for state, kept in ((None, None), ("b", "b"), ("", None)):
            self.connection.received(text("hello"))
            self.calls.answer(Delivered(state=state))
            self.told(*[("remember", "key", Remembered(kept) if kept else None)] * (state is not None))
        self.connection.received(text("1"))
        self.connection.received(text("2"))
        self.connection.close(Close(4001, "bye"), ClosedBy.API)
        self.lose()
        self.told()
        self.calls.answer(Delivered())
        self.told(("ended", "key", ending(4001, ClosedBy.API, "bye"), 1))
        self.calls.answer()
        self.told()
        self.nothing_left()

    def test_the_process_ends_before_the_api_answers(self) -> None:
        """What the next one has to say is kept: the message on its way is not delivered as far as anybody knows."""
        self.recorded()
        self.calls.answer(Grant())
        for payload in ("1", "2", "3"):
            self.connection.received(text(payload))
        self.connection.record_end()
        self.told()  # Nothing ended it.
        self.connection.shut_down()
        self.connection.record_end()
        self.told(("ended", "key", ending(1001, ClosedBy.SHUTDOWN), 3))

    def test_the_process_ends_while_an_answer_is_carried_out(self) -> None:
        """Its message was delivered: only those behind it were not. The user is kept, too."""
        self.recorded()
        self.calls.answer(Grant())
        for payload in ("1", "2"):
            self.connection.received(text(payload))
        publication = Publication(("all",), text("m"))
        self.calls.answer(Delivered(wishes=Wishes("bob", publication=publication)))
        self.told(("remember", "key", Remembered(None, "bob")))
        self.connection.shut_down()
        self.connection.record_end()
        self.told(("ended", "key", ending(1001, ClosedBy.SHUTDOWN), 1))

    def test_a_grant_without_a_state(self) -> None:
        """There is nothing to remember."""
        self.recorded()
        self.calls.answer(Grant(state=""))
        self.told()
