"""``Idempotency-Key`` (protocol §3): which pushes are carried out, and what the others are answered."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.idempotency import MAX_KEYS, Answers, read_key
from wsaas.errors import PushRefused
from wsaas.net.http1.messages import Response

Answer = Response | Deferred[Response]


class KeyTests(SynchronousTestCase):
    """The header."""

    def test_keys(self) -> None:
        """1 to 64 visible ASCII characters, as they are; absent is none."""
        self.assertIsNone(read_key([]))
        for key in (b"a", b"~" * 64, b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', b"a,b;c=d", b"!"):
            self.assertEqual(read_key([key]), key)

    def test_malformed(self) -> None:
        """400, saying what is right."""
        for values in ([b""], [b"a" * 65], [b"a b"], [b"a\tb"], [b"\xc3\xa9"], [b"a\x7f"], [b"a\n"], [b"a", b"a"]):
            error = self.assertRaises(PushRefused, read_key, values)
            self.assertEqual((error.status, error.code), (400, "BAD_REQUEST"), values)
            self.assertIn("64", error.message)

    @moderately
    @given(st.lists(st.binary(max_size=70) | st.text(st.characters(codec="ascii")).map(str.encode), max_size=2))
    def test_anything(self, values: list[bytes]) -> None:
        """A key as it was sent, or a refusal."""
        try:
            key = read_key(values)
        except PushRefused as error:
            self.assertEqual((error.status, error.code), (400, "BAD_REQUEST"))
        else:
            self.assertEqual(values, [] if key is None else [key])
            if key is not None:
                self.assertTrue(
                    1 <= len(key) <= 64 and key.isascii() and key.decode().isprintable() and b" " not in key
                )


class AnswersTestCase(SynchronousTestCase):
    """The memory of one connection."""

    def setUp(self) -> None:
        self.answers: Answers[Response] = Answers()
        #: The keys of the pushes that were carried out.
        self.pushed: list[bytes] = []

    def push(self, key: bytes, answer: Answer | None = None) -> Answer:
        """Push, with an answer that tells which push it is of."""

        def carry_out() -> Answer:
            self.pushed.append(key)
            return Response(200, (), b"%d" % len(self.pushed)) if answer is None else answer

        return self.answers.once(key, carry_out)

    def at_once(self, key: bytes, answer: Answer | None = None) -> Response:
        """:returns: an answer that is there at once"""
        got = self.push(key, answer)
        assert isinstance(got, Response)
        return got

    def later(self, key: bytes, answer: Answer | None = None) -> Deferred[Response]:
        """:returns: an answer that is to come"""
        got = self.push(key, answer)
        assert isinstance(got, Deferred)
        return got


class AnswersTests(AnswersTestCase):
    """One key, one push."""

    def test_repeated(self) -> None:
        """The earlier answer, and nothing is carried out."""
        answer = self.at_once(b"a")
        self.assertIs(self.at_once(b"a"), answer)
        self.assertIsNot(self.at_once(b"b"), answer)
        self.assertEqual(self.pushed, [b"a", b"b"])

    def test_any_success_is_kept(self) -> None:
        """202 as well."""
        held = Response(202)
        self.push(b"a", held)
        self.assertIs(self.at_once(b"a"), held)
        self.assertEqual(len(self.pushed), 1)

    def test_failures_are_not_kept(self) -> None:
        """4xx and 5xx answers, whether they are returned or raised: the next one is carried out."""
        for status in (400, 404, 503):
            self.assertEqual(self.at_once(b"a", Response(status)).status, status)

        def refuse() -> Answer:
            raise PushRefused(503, "TOO_SLOW", "why")

        self.assertRaises(PushRefused, self.answers.once, b"a", refuse)
        self.assertEqual(self.at_once(b"a").status, 200)
        self.assertEqual(len(self.pushed), 4)

    def test_the_last_64(self) -> None:
        """An older key is as good as new, and those that were repeated are no younger for it."""
        self.assertEqual(MAX_KEYS, 64)
        keys = [b"%d" % number for number in range(64)]
        for key in keys:
            self.push(key)
        for key in keys:
            self.push(key)
        self.assertEqual(self.pushed, keys)
        self.push(b"one more")
        self.push(keys[1])
        self.assertEqual(len(self.pushed), 65)
        self.push(keys[0])
        self.assertEqual(len(self.pushed), 66)

    def test_in_progress(self) -> None:
        """A push that is repeated before its answer waits for the same answer."""
        pending: Deferred[Response] = Deferred()
        first = self.later(b"a", pending)
        others = [self.later(b"a") for _ in range(2)]
        self.assertNoResult(first)
        answer = Response(200)
        pending.callback(answer)
        for each in (first, *others):
            self.assertIs(self.successResultOf(each), answer)
        self.assertIs(self.at_once(b"a"), answer)
        self.assertEqual(self.pushed, [b"a"])

    def test_one_leaves(self) -> None:
        """It does not affect other waiters; and the answer is kept for a repeated push, even if all pushers left."""
        pending: Deferred[Response] = Deferred()
        first, second = self.later(b"a", pending), self.later(b"a")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        third = self.later(b"a")
        pending.callback(Response(202))
        self.assertEqual(self.successResultOf(third).status, 202)
        self.assertEqual(self.at_once(b"a").status, 202)
        self.assertEqual(self.pushed, [b"a"])

    def test_a_failure_in_progress(self) -> None:
        """Every waiter gets it, and it is not kept."""
        pending: Deferred[Response] = Deferred()
        first, second = self.later(b"a", pending), self.later(b"a")
        pending.errback(ValueError())
        self.failureResultOf(first, ValueError)
        self.failureResultOf(second, ValueError)
        refused: Deferred[Response] = Deferred()
        third = self.later(b"a", refused)
        refused.callback(Response(503))
        self.assertEqual(self.successResultOf(third).status, 503)
        self.assertEqual(self.at_once(b"a").status, 200)
        self.assertEqual(len(self.pushed), 3)

    def test_forgotten_in_progress(self) -> None:
        """Its key may be another push's by then: its waiters still get the answer, but it is not kept."""
        pending: Deferred[Response] = Deferred()
        first = self.later(b"a", pending)
        for number in range(MAX_KEYS):
            self.push(b"%d" % number)
        new = self.at_once(b"a")
        pending.callback(Response(202))
        self.assertEqual(self.successResultOf(first).status, 202)
        self.assertIs(self.at_once(b"a"), new)

    def test_one_that_is_told_leaves_for_another(self) -> None:
        """Whatever they do when they are told."""
        pending: Deferred[Response] = Deferred()
        first, second = self.later(b"a", pending), self.later(b"a")

        def told(_: object) -> None:
            second.cancel()
            self.push(b"a")
            self.push(b"b")

        first.addCallback(told)
        pending.callback(Response(200))
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.pushed, [b"a", b"b"])

    def test_freed(self) -> None:
        """Nothing keeps what was waited for, not even a cycle."""
        pending: Deferred[Response] = Deferred()
        first = self.later(b"a", pending)
        references = [weakref.ref(pending), weakref.ref(first)]
        pending.callback(Response(200))
        collecting = gc.isenabled()
        gc.disable()
        try:
            del pending, first
            self.assertEqual([reference() for reference in references], [None, None])
        finally:
            if collecting:
                gc.enable()

    @moderately
    @given(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([200, 202, 404, 503, None]))
            | st.tuples(st.just(-1), st.none()),
            max_size=30,
        )
    )
    def test_any_order(self, events: list[tuple[int, int | None]]) -> None:
        """Pushes answered at once or later: each key is carried out until it has been a success, and then no more."""
        self.setUp()
        carried_out: dict[bytes, int] = {}
        known: set[bytes] = set()
        pending: dict[bytes, Deferred[Response]] = {}
        waiting: dict[bytes, list[Deferred[Response]]] = {}
        for number, status in events:
            if number < 0:
                for key, deferred in pending.items():
                    deferred.callback(Response(200, (), key))
                    for each in waiting.pop(key):
                        self.assertEqual(self.successResultOf(each).body, key)
                known |= set(pending)
                pending.clear()
                continue
            key = b"%d" % number
            to_come: Deferred[Response] = Deferred()
            got = self.push(key, to_come if status is None else Response(status, (), key))
            if key in known:
                self.assertEqual(got.body if isinstance(got, Response) else None, key)
            elif key in pending:
                assert isinstance(got, Deferred)
                waiting[key].append(got)
            else:
                carried_out[key] = carried_out.get(key, 0) + 1
                if isinstance(got, Deferred):
                    pending[key], waiting[key] = to_come, [got]
                elif got.status < 400:
                    known.add(key)
            self.assertEqual({each: self.pushed.count(each) for each in set(self.pushed)}, carried_out)
