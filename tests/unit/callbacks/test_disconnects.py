"""DELETEs that the API does not take at once (protocol §2.1 and §2.3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.fakes import MemoryGroups, TimeOfDay
from tests.properties import run_courses
from wsaas import __version__
from wsaas.callbacks import disconnects as module
from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.breaker import MIN_FAILURES, Breaker
from wsaas.callbacks.disconnects import MAX_BYTES, MAX_GROUPS, PAUSES, RECORD, Disconnect, Disconnects, groups_lines
from wsaas.callbacks.publishing import AnswerPublisher
from wsaas.callbacks.settings import ApiSettings
from wsaas.callbacks.slots import Slots
from wsaas.callbacks.tracing import Tracer
from wsaas.connections.identity import Identity, tag_of
from wsaas.connections.messages import Close, ClosedBy, End, Message, PendingDisconnect, Publication, Remembered
from wsaas.connections.retry import Backoff, Retries
from wsaas.connections.totals import Pending
from wsaas.counts import attempts
from wsaas.errors import CallbackFailed, NoAnswer, NotSent, OverloadedError, TimedOut, Unusable
from wsaas.limits import Budget
from wsaas.net.http1.messages import Answer
from wsaas.settings.read import read_settings

NOW = 1_700_000_000.0
UPTIME = 5000.0
CRASH = End(Close(1006), ClosedBy.CRASH)


def debt(key: str, ended_at: float = NOW) -> PendingDisconnect:
    """:returns: a debt of which hardly anything is known"""
    return PendingDisconnect(Identity(key, tag_of(key), f"h/{key}"), b"/", None, None, CRASH, 0, ended_at)


class Calls:
    """A client that keeps calls for the test to answer."""

    uri = "http://api.test/"

    def __init__(self) -> None:
        self.attempts = attempts()
        #: Head and Deferred of each call that is not answered yet.
        self.pending: list[tuple[bytes, Deferred[Answer]]] = []
        self.heads: list[bytes] = []
        #: The answer that each gets at once.
        self.at_once: object = None

    def delete(self, url: str, *, headers: Any) -> Deferred[Answer]:
        """Keep it."""
        assert url == self.uri
        deferred: Deferred[Answer] = Deferred()
        self.heads.append(headers.encoded)
        self.pending.append((headers.encoded, deferred))
        if self.at_once is not None:
            self.answer(self.at_once)
        return deferred

    def answer(self, result: object = 200, *headers: tuple[str, str], body: bytes = b"") -> None:
        """Answer the first that waits, with a status or an exception."""
        deferred = self.pending.pop(0)[1]
        if isinstance(result, int):
            fields = Headers()
            for name, value in headers:
                fields.addRawHeader(name, value)
            deferred.callback(Answer(result, fields, body))
        else:
            deferred.errback(Failure(result))


def api_settings(**given: str) -> ApiSettings:
    """:returns: settings by name"""
    return read_settings({"API_URI": "x/", **given}).api


class DisconnectsTestCase(SynchronousTestCase):
    """Disconnects between a clock and an API that a test holds in its hands."""

    def setUp(self) -> None:
        """With the defaults."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.begin()

    def begin(self, slots: int = 16, **given: str) -> None:
        """Begin anew."""
        self.clock = Clock()
        self.clock.advance(UPTIME)
        self.now = TimeOfDay(self.clock, NOW)
        self.calls = Calls()
        self.slots = Slots(slots)
        self.breaker = Breaker(self.clock, lambda: 1.0)
        self.pending = Pending()
        self.drawn = 0.5
        self.settled: list[str] = []
        self.made = 0
        given.setdefault("API_HEADERS", "X-Fixed: 1")
        client: Any = self.calls
        settings = api_settings(**given)
        tracer = Tracer(Random(7).randbytes) if settings.trace else None
        access = ApiAccess(client, self.slots, self.breaker, self.clock, self.now, settings, tracer)
        self.groups = MemoryGroups()
        groups: Any = self.groups
        retries = Retries(self.clock, self.now, Backoff(lambda: self.drawn), 60.0)
        self.publisher = AnswerPublisher(groups, retries, Budget(1 << 20))
        self.disconnects = Disconnects(access, lambda: self.drawn, self.pending, self.publisher, self.settled.append)

    def say(self, size: int = 0) -> Deferred[None]:
        """Send the DELETE of a connection."""
        self.made += 1
        name = f"{self.made}"
        return self.disconnects.send(
            Disconnect(f"key{name}", f"tag{name}", b"Ws-Id: tag%d-end\r\n" % self.made + bytes(size))
        )

    def late(self, count: int = 1, result: object = 503) -> None:
        """Have so many wait for a late attempt."""
        for _ in range(count):
            done = self.say()
            if self.calls.pending:
                self.calls.answer(result)
            self.successResultOf(done)
        self.events.clear()

    def ids(self, since: int = 0) -> list[str]:
        """:returns: the names of the calls so far"""
        return [head.partition(b"Ws-Id: ")[2].partition(b"\r\n")[0].decode() for head in self.calls.heads[since:]]

    def logged(self, level: Any) -> list[str]:
        """:returns: what was logged at a level"""
        return [formatEvent(event) for event in self.events if event["log_level"] is level]

    def nothing_left(self) -> None:
        """Nothing is pending, and nothing waits."""
        self.assertEqual((self.disconnects.waiting, self.disconnects.bytes, self.pending.number), (0, 0, 0))
        self.assertEqual((self.slots.held, self.slots.waiting), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.calls.pending, [])


class FirstAttemptTests(DisconnectsTestCase):
    """What most of them are done with."""

    def test_taken(self) -> None:
        """Paid; whoever keeps a list is told."""
        for status in (200, 204, 410, 405, 501):
            done = self.say()
            self.assertNoResult(done)
            self.assertEqual(self.settled, [])
            self.calls.answer(status)
            self.successResultOf(done)
            self.assertEqual(self.settled, [f"key{self.made}"])
            self.settled.clear()
            self.nothing_left()
        self.assertEqual(self.disconnects.lost, 0)

    def test_the_head(self) -> None:
        """As it was given, dated at the attempt."""
        self.say()
        self.assertEqual(self.calls.heads, [b"Ws-Id: tag1-end\r\nWs-Timestamp: %d\r\n" % NOW])

    def test_no_route(self) -> None:
        """One warning a run."""
        for status in (501, 405, 405):
            self.say()
            self.calls.answer(status)
        (warning,) = self.logged(LogLevel.warn)
        self.assertIn("501", warning)

    def test_it_waits_for_its_turn_among_deletes(self) -> None:
        """Like any call."""
        self.begin(slots=1)
        self.slots.acquire("PUT")
        done = self.say()
        self.assertEqual(self.calls.heads, [])
        self.slots.release("PUT")
        self.calls.answer()
        self.successResultOf(done)
        self.nothing_left()

    def test_not_taken(self) -> None:
        """Nothing of the connection need be kept; the drain knows what is pending; nothing is told of an end."""
        for result in (404, 301, 401, 408, 429, 500, 503, NotSent("x"), NoAnswer("x"), TimedOut("x"), Unusable("x")):
            self.begin()
            done = self.say(100)
            self.calls.answer(result)
            self.successResultOf(done)
            self.assertEqual((self.disconnects.waiting, self.pending.number, self.slots.held), (1, 1, 0))
            self.assertEqual(self.disconnects.bytes, len(b"Ws-Id: tag1-end\r\n") + 100 + RECORD)
            self.assertEqual((self.settled, self.disconnects.lost), ([], 0))
            self.clock.advance(PAUSES[0])
            self.calls.answer()
            self.assertEqual(self.settled, ["key1"])
            self.nothing_left()

    def test_a_fault_of_ours(self) -> None:
        """Logged, and tried again."""
        done = self.say()
        self.calls.answer(ZeroDivisionError())
        self.successResultOf(done)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.disconnects.waiting, 1)


class LaterTests(DisconnectsTestCase):
    """Those that are tried again."""

    def test_pauses_grow(self) -> None:
        """Each attempt has the same name and its own time; in the end it is taken."""
        self.late()
        for tries in range(12):
            before = len(self.calls.heads)
            pause = min(PAUSES[0] * 2**tries, PAUSES[1]) / 2
            self.clock.advance(pause - 0.01)
            self.assertEqual(len(self.calls.heads), before)
            self.clock.advance(0.01)
            self.assertEqual(len(self.calls.heads), before + 1)
            stamp = b"Ws-Timestamp: %d\r\n" % self.now()
            self.assertEqual(self.calls.heads[-1], b"Ws-Id: tag1-end\r\n" + stamp)
            self.calls.answer(500)
        self.clock.advance(PAUSES[1])
        self.calls.answer()
        self.nothing_left()
        self.assertEqual((self.settled, self.disconnects.lost), (["key1"], 0))

    def test_the_time_of_day_is_set(self) -> None:
        """The next attempt has the new time, when it would have come anyway; none is dropped early."""
        for set_by in (-3600, 90_000):
            self.begin(API_DELETE_FOR="86400000")
            self.say()
            self.calls.answer(503)
            self.now.set_by(set_by)
            self.clock.advance(PAUSES[0] / 2)
            self.assertIn(b"Ws-Timestamp: %d\r\n" % self.now(), self.calls.heads[-1])
            self.calls.answer(503)
            self.assertEqual((len(self.calls.heads), self.disconnects.lost), (2, 0))

    def test_a_date_to_wait_for(self) -> None:
        """By the time of day that it is when the answer comes."""
        self.say()
        self.now.set_by(-3600)
        self.calls.answer(
            503, ("Retry-After", format_datetime(datetime.fromtimestamp(self.now() + 30, UTC), usegmt=True))
        )
        self.clock.advance(30)
        self.assertEqual(len(self.calls.heads), 1)
        self.clock.advance(PAUSES[0] / 2)
        self.assertEqual(len(self.calls.heads), 2)

    def test_the_api_may_ask_for_more(self) -> None:
        """``Retry-After``."""
        self.say()
        self.calls.answer(503, ("Retry-After", "30"))
        self.clock.advance(30)
        self.assertEqual(len(self.calls.heads), 1)
        self.clock.advance(PAUSES[0] / 2)
        self.assertEqual(len(self.calls.heads), 2)

    def test_given_up(self) -> None:
        """After API_DELETE_FOR; an error in the log, counted, told."""
        self.begin(API_DELETE_FOR="10000")
        self.late()
        for _ in range(100):
            self.clock.advance(0.5)
            if self.calls.pending:
                self.assertLessEqual(self.clock.seconds(), UPTIME + 10)
                self.calls.answer(503)
        self.assertEqual((self.disconnects.lost, self.settled), (1, ["key1"]))
        (error,) = self.logged(LogLevel.error)
        self.assertIn("tag1 ", error)
        self.assertIn("503", error)
        self.assertNotIn("key1", error)
        self.nothing_left()

    def test_the_last_attempt_is_when_the_time_is_just_over(self) -> None:
        """Whatever the API asks for."""
        self.begin(API_DELETE_FOR="10000")
        self.say()
        self.calls.answer(503, ("Retry-After", "99999"))
        self.clock.advance(10)
        self.calls.answer(503)
        self.assertEqual(self.disconnects.lost, 1)
        self.nothing_left()

    def test_0_is_one_attempt(self) -> None:
        """Made even if the API is known to be down."""
        self.begin(API_DELETE_FOR="0")
        for _ in range(MIN_FAILURES + 2):
            done = self.say()
            self.clock.advance(1)
            self.calls.answer(NotSent("nobody there"))
            self.successResultOf(done)
        self.assertTrue(self.breaker.is_open)
        self.assertEqual((self.disconnects.lost, len(self.settled)), (MIN_FAILURES + 2, MIN_FAILURES + 2))
        self.nothing_left()

    def test_refused(self) -> None:
        """Other 3xx and 4xx: for API_RETRY_FOR only."""
        for status in (302, 400, 401, 403, 404):
            self.begin(API_RETRY_FOR="10000")
            self.late(result=status)
            for _ in range(30):
                self.clock.advance(0.5)
                if self.calls.pending:
                    self.calls.answer(status)
            self.assertEqual((self.disconnects.lost, self.settled), (1, ["key1"]))
            self.assertGreater(len(self.calls.heads), 3)
            self.nothing_left()

    def test_refused_with_one_attempt(self) -> None:
        """API_RETRY_FOR is 0: lost at once."""
        self.begin(API_RETRY_FOR="0")
        self.say()
        self.calls.answer(404)
        self.assertEqual((self.disconnects.lost, self.settled), (1, ["key1"]))
        self.nothing_left()

    def test_a_refusal_counts_from_when_it_came(self) -> None:
        """An API that was down for an hour and has no routes in its first seconds loses nothing."""
        self.late(result=NotSent("nobody there"))
        self.clock.advance(3600)
        for result in (404, 503, 404):
            self.calls.answer(result)
            self.assertEqual(self.disconnects.lost, 0)
            self.clock.advance(50)
        self.calls.answer()
        self.nothing_left()

    def test_told_when_it_begins_and_when_it_is_over(self) -> None:
        """Not of each."""
        for _ in range(3):
            self.say()
            self.calls.answer(503)
        (warning,) = self.logged(LogLevel.warn)
        self.assertIn("tried again", warning)
        self.assertEqual(self.logged(LogLevel.info), [])
        self.calls.at_once = 200
        self.clock.pump([1.0] * 10)
        self.nothing_left()
        self.assertEqual(len(self.logged(LogLevel.info)), 1)


class PaceTests(DisconnectsTestCase):
    """They come back spread out."""

    def test_one_at_first_and_more_as_they_are_taken(self) -> None:
        """A quarter of the slots at most."""
        self.begin(slots=16)
        self.late(50)
        self.clock.advance(PAUSES[0])
        sizes = []
        while self.calls.pending:
            sizes.append(len(self.calls.pending))
            self.calls.answer()
        self.assertEqual(sizes[:5], [1, 2, 3, 4, 4])
        self.assertEqual(max(sizes), 4)
        self.nothing_left()

    def test_fewer_when_they_are_not(self) -> None:
        """Half of them, down to one."""
        self.begin(slots=64)
        self.late(100)
        self.clock.advance(PAUSES[0])
        for _ in range(15):
            self.calls.answer()
        self.assertEqual(len(self.calls.pending), 16)
        while len(self.calls.pending) > 1:
            self.calls.answer(503)
        self.calls.answer(503)
        self.assertEqual(len(self.calls.pending), 1)

    def test_few_slots(self) -> None:
        """One late one at once, even of one."""
        self.begin(slots=1)
        self.late(5)
        self.clock.advance(PAUSES[0])
        for _ in range(5):
            self.assertEqual((len(self.calls.pending), self.slots.held), (1, 1))
            self.calls.answer()
        self.nothing_left()

    def test_a_slot_may_be_long_in_coming(self) -> None:
        """Late ones wait for slots like all the others, and others are let in between."""
        self.begin(slots=1)
        self.late(2)
        self.slots.acquire("PUT")
        self.clock.advance(PAUSES[0])
        self.assertEqual((self.calls.pending, self.slots.waiting), ([], 1))
        self.slots.release("PUT")
        self.calls.answer()
        self.calls.answer()
        self.nothing_left()

    def test_they_do_not_nest(self) -> None:
        """However many are answered at once."""
        self.late(3000)
        self.calls.at_once = 200
        self.clock.pump([1.0] + [0.01] * 40)
        self.nothing_left()
        self.assertEqual(len(self.settled), 3000)

    def test_jitter_spreads_them(self) -> None:
        """Each has a pause of its own."""
        for number in range(100):
            self.drawn = number / 100
            self.late()
        self.calls.at_once = 200
        for tenth in range(1, 10):
            self.clock.advance(0.1)
            self.assertLess(abs(len(self.settled) - tenth * 10), 3)


class DownTests(DisconnectsTestCase):
    """While the API is known to be down."""

    def go_down(self) -> None:
        """Let it be known."""
        for _ in range(MIN_FAILURES):
            self.breaker.report(Failure(NotSent("nobody there")), "x")
            self.clock.advance(0.5)
        self.assertTrue(self.breaker.is_open)

    def test_a_first_attempt_is_not_made(self) -> None:
        """It is pending at once."""
        self.go_down()
        self.successResultOf(self.say())
        self.assertEqual((self.calls.heads, self.disconnects.waiting), ([], 1))

    def test_only_probes_are_made(self) -> None:
        """However many are pending; once one is answered, all are sent."""
        self.disconnects._backoff = Backoff(Random(7).random, *PAUSES)
        self.late(200, NotSent("nobody there"))
        self.calls.at_once = NotSent("nobody there")
        self.go_down()
        before = len(self.calls.heads)
        self.clock.pump([1.0] * 600)
        probes = len(self.calls.heads) - before
        self.assertLess(probes, 60)
        self.assertGreater(probes, 20)
        self.assertEqual(self.disconnects.waiting, 200)
        self.calls.at_once = 200
        self.clock.pump([1.0] * 600)
        self.nothing_left()
        self.assertEqual(sorted(self.settled), sorted(f"key{number}" for number in range(1, 201)))

    def test_given_up_all_the_same(self) -> None:
        """When the time is over."""
        self.begin(API_DELETE_FOR="60000")
        self.go_down()
        self.late(50)
        self.calls.at_once = NotSent("nobody there")
        self.clock.pump([1.0] * 62)
        self.nothing_left()
        self.assertEqual((self.disconnects.lost, len(self.settled)), (50, 50))
        self.assertEqual(len(self.logged(LogLevel.error)), 50)


class BoundTests(DisconnectsTestCase):
    """Memory."""

    def test_full(self) -> None:
        """By bytes; but no DELETE is dropped for it."""
        self.patch(module, "MAX_BYTES", 10_000)
        for _ in range(3):
            self.say(2500)
            self.calls.answer(503)
        self.assertFalse(self.disconnects.is_full)
        self.say(2500)
        self.calls.answer(503)
        self.assertTrue(self.disconnects.is_full)
        self.say(2500)
        self.calls.answer(503)
        self.assertEqual((self.disconnects.waiting, self.disconnects.lost), (5, 0))
        self.calls.at_once = 200
        self.clock.pump([1.0] * 20)
        self.assertFalse(self.disconnects.is_full)
        self.nothing_left()

    def test_the_oldest(self) -> None:
        """Of those of an earlier process, too, in whatever order it left them; 0 without any."""
        self.assertEqual(self.disconnects.oldest, 0)
        self.disconnects.resume([debt("k1", self.now() - 10), debt("k2", self.now() - 30), debt("k3", self.now() - 20)])
        self.late()
        self.assertEqual(self.disconnects.oldest, 30)
        self.calls.at_once = 200
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.disconnects.oldest, 0)

    def test_the_bound(self) -> None:
        """That of the documentation."""
        self.assertEqual(MAX_BYTES, 64 * 1024 * 1024)


class LastWordsTests(DisconnectsTestCase):
    """What the answer to a DELETE publishes."""

    PUBLISH = (("Ws-Publish", "text groups/a, users/b%20c"), ("Ws-Except", "self"), ("Ws-Slow", "skip"))

    def published(self, tag: str = "tag1") -> None:
        """One publication is under way."""
        ((publication, _),) = self.groups.published
        targets = ("groups/a", "users/b c")
        self.assertEqual(publication, Publication(targets, Message(b"Bob left", False), frozenset({tag}), True))

    def test_of_the_first_attempt(self) -> None:
        """It is done at once, and the DELETE does not wait for it."""
        done = self.say()
        self.calls.answer(200, *self.PUBLISH, body=b"Bob left")
        self.successResultOf(done)
        self.assertEqual(self.settled, ["key1"])
        self.published()
        self.groups.finish()
        self.nothing_left()

    def test_of_a_late_attempt(self) -> None:
        """Long after the connection was forgotten."""
        self.late()
        self.clock.advance(1)
        self.calls.answer(204, *self.PUBLISH, body=b"Bob left")
        self.published()
        self.nothing_left()

    def test_of_an_earlier_process(self) -> None:
        """Its members are those of this one."""
        self.disconnects.resume([debt("some-key")])
        self.clock.advance(1)
        self.calls.answer(204, *self.PUBLISH, body=b"Bob left")
        self.published(tag_of("some-key"))

    def test_nothing_is_asked_for(self) -> None:
        """By most answers; no other header counts, and only a 2xx does."""
        for status, headers in ((200, ()), (200, (("Ws-Join", "a b"), ("Ws-User", "%"))), (410, self.PUBLISH)):
            self.say()
            self.calls.answer(status, *headers)
        self.assertEqual((self.groups.asked, self.logged(LogLevel.error)), (0, []))
        self.nothing_left()

    def test_what_cannot_be_done(self) -> None:
        """It is an error in the log, which does not name anybody; the DELETE is done."""
        for headers, body in (
            ([("Ws-Publish", "text groups/an%2")], b""),
            ([("Ws-Publish", "text all"), ("Ws-Except", "somebody")], b""),
            ([("Ws-Publish", "text all")], b"\xff"),
            ([("Ws-Publish", "text all"), ("Content-Encoding", "gzip")], b""),
        ):
            self.say()
            self.calls.answer(200, *headers, body=body)
            (line,) = self.logged(LogLevel.error)
            self.assertIn(f"tag{self.made} the answer to the DELETE: ", line)
            self.assertNotIn("an%2", line)
            self.events.clear()
        self.assertEqual((self.groups.asked, self.settled), (0, ["key1", "key2", "key3", "key4"]))
        self.nothing_left()

    def test_no_room(self) -> None:
        """It is tried again, whatever becomes of others, and dropped when the time is over."""
        self.groups.fault = OverloadedError()
        self.say()
        self.calls.answer(200, *self.PUBLISH, body=b"Bob left")
        self.assertEqual((self.groups.asked, self.settled), (1, ["key1"]))
        self.clock.advance(1)
        self.assertEqual(self.groups.asked, 2)
        self.groups.fault = None
        self.clock.pump([1] * 60)
        self.published()
        self.assertEqual((self.publisher.dropped, self.logged(LogLevel.error)), (0, []))
        self.nothing_left()

    def test_the_end_of_the_process(self) -> None:
        """What still waits is dropped, and so is what comes too late."""
        self.groups.fault = OverloadedError()
        for _ in range(2):
            self.say()
        self.calls.answer(200, *self.PUBLISH, body=b"Bob left")
        self.disconnects.stop()
        self.calls.answer(200, *self.PUBLISH, body=b"Bob left")
        self.assertEqual((self.publisher.dropped, len(self.logged(LogLevel.error))), (2, 2))
        self.nothing_left()


class GroupsTests(SynchronousTestCase):
    """In which groups a connection was."""

    def test_lines(self) -> None:
        """In order, encoded; none for nobody."""
        self.assertEqual(groups_lines(["a", "b c", "ü,"]), b"Ws-Groups: a, b%20c, %C3%BC%2C\r\n")
        self.assertEqual(groups_lines([]), b"")

    def test_bound(self) -> None:
        """Whole names, as many as there is room for; the number of the others."""
        names = [f"{number:064}" for number in range(100)]
        for count in (15, 16, 100):
            lines = groups_lines(names[:count]).decode("ascii")
            listed = lines.split("\r\n")[0].removeprefix("Ws-Groups: ")
            self.assertLessEqual(len(listed), MAX_GROUPS)
            kept = listed.split(", ")
            self.assertEqual(kept, names[: len(kept)])
            self.assertEqual(len(kept), min(count, 15))
            left_out = f"Ws-Groups-Left-Out: {count - 15}\r\n" if count > 15 else ""
            self.assertEqual(lines, f"Ws-Groups: {listed}\r\n{left_out}")

    def test_the_longest_name(self) -> None:
        """It fits."""
        self.assertIn(b"Ws-Groups: %F0", groups_lines(["\U0001f600" * 64]))
        self.assertIn(b"Left-Out: 1\r\n", groups_lines(["\U0001f600" * 64, "\U0001f601" * 64]))


class CrashTests(DisconnectsTestCase):
    """Debts of an earlier process."""

    def test_what_it_says(self) -> None:
        """Who it was, what is known of it, and that it was a crash."""
        identity = Identity("some-key", tag_of("some-key"), "http://h/some-key")
        self.disconnects.resume(
            [PendingDisconnect(identity, b"/chat?a=b", "192.0.2.1", Remembered("s 1", "ü"), CRASH, 0, NOW)]
        )
        self.assertEqual((self.disconnects.waiting, self.pending.number, self.calls.heads), (1, 1, []))
        self.clock.advance(1)
        tag = tag_of("some-key").encode()
        self.assertEqual(
            self.calls.heads[0].split(b"\r\n"),
            [
                b"X-Fixed: 1",
                b"User-Agent: wsaas/%b" % __version__.encode("ascii"),
                b"Accept-Encoding: identity",
                b"Ws-Uri: http://h/some-key",
                b"Ws-Path: /chat?a=b",
                b"Ws-Client: 192.0.2.1",
                b"X-Forwarded-For: 192.0.2.1",
                b"Ws-State: s 1",
                b"Ws-User: %C3%BC",
                b"Ws-Close-Code: 1006",
                b"Ws-Closed-By: crash",
                b"Ws-Id: " + tag + b"-end",
                b"Ws-Timestamp: %d" % self.now(),
                b"",
            ],
        )
        self.calls.answer()
        self.assertEqual(self.settled, ["some-key"])
        self.nothing_left()

    def test_what_is_not_known(self) -> None:
        """Is left out."""
        self.disconnects.resume([debt("k")])
        self.clock.advance(1)
        for name in (b"Ws-Client", b"X-Forwarded-For", b"Ws-State"):
            self.assertNotIn(name, self.calls.heads[0])

    def test_what_is_known_of_the_end(self) -> None:
        """Is said, as the earlier process would have said it."""
        end = End(Close(4001, "good bye"), ClosedBy.API)
        self.disconnects.resume([replace(debt("k"), end=end, undelivered=3)])
        self.clock.advance(1)
        for line in (
            b"Ws-Close-Code: 4001",
            b"Ws-Close-Reason: good%20bye",
            b"Ws-Closed-By: api",
            b"Ws-Undelivered: 3",
        ):
            self.assertIn(line, self.calls.heads[0].split(b"\r\n"))

    def test_the_time_of_day_is_set(self) -> None:
        """What is left of the time for an earlier process's DELETE is what was left when it was found."""
        for age, left in ((0.0, 60), (20.0, 40), (-3600.0, 60)):
            self.begin(API_DELETE_FOR="60000")
            self.drawn = 1.0
            self.disconnects.resume([debt("k", self.now() - age)])
            self.now.set_by(-7200)
            self.calls.at_once = 503
            self.clock.pump([0.5] * (2 * left - 1))
            self.assertEqual(self.disconnects.lost, 0, age)
            self.clock.pump([0.5] * 2)
            self.assertEqual(self.disconnects.lost, 1, age)
            self.nothing_left()

    def test_one_older_than_the_machines_uptime(self) -> None:
        """It has its time all the same."""
        self.begin(API_DELETE_FOR="86400000")
        self.disconnects.resume([debt("k", self.now() - 2 * UPTIME)])
        self.clock.advance(1)
        self.calls.answer(503)
        self.assertEqual((self.disconnects.lost, self.disconnects.waiting), (0, 1))

    def test_one_that_is_too_old(self) -> None:
        """It has one attempt; if that is not taken, it is dropped, an error in the log, and counted."""
        for answer, lost in ((503, 1), (200, 0)):
            self.begin(API_DELETE_FOR="60000")
            self.disconnects.resume([debt("k", self.now() - 61)])
            self.clock.advance(1)
            self.calls.answer(answer)
            self.assertEqual((self.disconnects.lost, self.settled), (lost, ["k"]))
            self.nothing_left()

    def test_none(self) -> None:
        """As at most starts: nothing is said."""
        self.disconnects.resume([])
        self.nothing_left()

    def test_not_taken(self) -> None:
        """Tried again like any other."""
        self.disconnects.resume([debt("k")])
        self.calls.at_once = 503
        self.clock.pump([1.0] * 10)
        self.calls.at_once = 200
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.settled, ["k"])
        self.nothing_left()

    def test_many(self) -> None:
        """Spread out, and soon done."""
        for number in range(1000):
            self.drawn = number / 1000
            self.disconnects.resume([debt(f"k{number}")])
        self.calls.at_once = 200
        self.clock.pump([0.02] * 25)
        self.assertLess(abs(len(self.settled) - 500), 50)
        self.clock.pump([0.02] * 30)
        self.assertEqual(len(self.settled), 1000)
        self.nothing_left()

    def test_traces(self) -> None:
        """With ``TRACE=on``, each is in a trace of its own, and each attempt has its parent."""
        self.begin(TRACE="on")
        self.disconnects.resume([debt("k1"), debt("k2")])
        parents: dict[str, list[str]] = {}
        for result in (503, 200, 200):
            self.clock.pump([0.1] * 40)
            head = dict(line.split(": ", 1) for line in self.calls.pending[0][0].decode().splitlines())
            parents.setdefault(head["Ws-Id"], []).append(head["traceparent"])
            self.calls.answer(result)
        (twice, once) = sorted(parents.values(), key=len, reverse=True)
        self.assertEqual((len(set(twice)), len({value[:36] for value in twice}), len(once)), (2, 1, 1))
        self.assertNotEqual(twice[0][:36], once[0][:36])
        self.nothing_left()


class StopTests(DisconnectsTestCase):
    """The end of the process."""

    def test_hurry(self) -> None:
        """All are tried at once, at the pace at which they are taken; those that fail soon again."""
        self.begin(slots=64)
        self.late(100)
        self.clock.advance(0.4)
        before = len(self.calls.heads)
        self.disconnects.hurry()
        self.assertEqual(len(self.calls.heads), before + 1)
        self.calls.answer(503)
        self.calls.at_once = 200
        self.calls.answer()
        self.clock.pump([0.05] * 20)
        self.nothing_left()
        self.assertEqual(len(self.settled), 100)

    def test_those_that_wait_for_minutes(self) -> None:
        """Are tried too; and with the breaker open, as it may be the last chance."""
        self.late(3, NotSent("nobody there"))
        self.calls.at_once = NotSent("nobody there")
        self.clock.pump([10.0] * 100)
        self.assertTrue(self.breaker.is_open)
        self.calls.at_once = 200
        self.disconnects.hurry()
        self.assertEqual(len(self.settled), 3)
        self.nothing_left()

    def test_those_that_come_meanwhile(self) -> None:
        """Are not put off long either."""
        self.disconnects.hurry()
        self.late(result=NotSent("nobody there"))
        self.calls.at_once = NotSent("nobody there")
        self.clock.pump([0.1] * 50)
        self.calls.at_once = 200
        self.clock.advance(1.0)
        self.nothing_left()

    def test_an_api_that_asks_for_more_time_than_there_is(self) -> None:
        """Is asked again in the time that there is."""
        self.disconnects.hurry()
        self.say()
        self.calls.answer(503, ("Retry-After", "300"))
        self.clock.advance(0.9)
        self.assertEqual(self.calls.pending, [])
        self.clock.advance(0.2)
        self.calls.answer()
        self.nothing_left()

    def test_the_drain_waits_for_them(self) -> None:
        """Until the last is taken."""
        self.late(2)
        empty = self.pending.when_none()
        self.disconnects.hurry()
        self.calls.answer()
        self.assertNoResult(empty)
        self.calls.answer()
        self.successResultOf(empty)

    def test_stop(self) -> None:
        """Nothing begins after it; what is left is counted."""
        self.late(5)
        self.clock.advance(PAUSES[0])
        self.assertEqual(len(self.calls.pending), 1)
        self.disconnects.stop()
        self.disconnects.stop()
        self.calls.answer(503)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1000)
        self.assertEqual((self.calls.pending, self.pending.number), ([], 5))


_FAILURES: list[object] = [404, 500, 503, "not sent", "no answer"]


class AnyCourse(RuleBasedStateMachine):
    """Disconnects, an API and time in any order."""

    @initialize(slots=st.sampled_from([1, 4, 16]), delete_for=st.sampled_from(["0", "5000", "86400000"]))
    def begin(self, slots: int, delete_for: str) -> None:
        """An empty list."""
        self.case = DisconnectsTestCase()
        self.case.begin(slots=slots, API_DELETE_FOR=delete_for, API_RETRY_FOR="2000")
        self.first: dict[int, Deferred[None]] = {}
        self.hurried = False

    @rule(drawn=st.sampled_from([0.0, 0.3, 1.0]))
    def say(self, drawn: float) -> None:
        """One more."""
        self.case.drawn = drawn
        self.case.say()

    @rule()
    def resume(self) -> None:
        """One of an earlier process."""
        self.case.made += 1
        self.case.disconnects.resume([debt(f"key{self.case.made}", self.case.now())])

    @rule(result=st.sampled_from([200, 200, 410, *_FAILURES]))
    def answer(self, result: object) -> None:
        """The API answers, or does not."""
        kinds: dict[object, CallbackFailed] = {"not sent": NotSent("x"), "no answer": NoAnswer("x")}
        if self.case.calls.pending:
            self.case.calls.answer(kinds.get(result, result))

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 400.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.case.clock.advance(seconds)

    @rule()
    def hurry(self) -> None:
        """The stop begins, in one of several courses."""
        if self.case.made > 10:
            self.case.disconnects.hurry()

    @invariant()
    def each_is_somewhere(self) -> None:
        """Settled once, or pending, or at its first attempt."""
        if not hasattr(self, "case"):
            return
        case = self.case
        assert len(set(case.settled)) == len(case.settled)
        disconnects = case.disconnects
        assert disconnects.waiting == case.pending.number == len(disconnects._heap) + disconnects._trying
        firsts = case.made - len(case.settled) - disconnects.waiting
        assert 0 <= firsts == len(case.calls.pending) + case.slots.waiting - disconnects._trying
        assert disconnects._trying <= case.slots.quarter
        assert len(case.clock.getDelayedCalls()) <= 1
        assert case.clock.getDelayedCalls() or not disconnects._heap or disconnects._trying

    def teardown(self) -> None:
        """An API that takes everything gets everything."""
        if not hasattr(self, "case"):
            return
        case = self.case
        case.calls.at_once = 200
        while case.calls.pending:
            case.calls.answer()
        case.clock.pump([60.0] * 100)
        case.nothing_left()
        assert len(case.settled) == case.made


class AnyCourseTests(SynchronousTestCase):
    """Any order of events."""

    def test_each_is_taken_or_dropped_once(self) -> None:
        """Whatever API and time do."""
        run_courses(AnyCourse, 100, 40)
