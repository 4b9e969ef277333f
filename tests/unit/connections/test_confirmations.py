"""``Ws-Confirm`` (protocol §3): which pongs prove what, and how long it is waited for them."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.confirmations import MAX_TIME, MAX_WAITING, Confirmations, read_time
from wsaas.errors import PushRefused

SECRET = b"secret of a connection"


class TimeTests(SynchronousTestCase):
    """The header."""

    def test_times(self) -> None:
        """Milliseconds; absent is no wish."""
        self.assertIsNone(read_time([]))
        for value, seconds in ((b"1", 0.001), (b"250", 0.25), (b"9999", 9.999), (b"30000", 30.0)):
            self.assertEqual(read_time([value]), seconds)

    def test_malformed(self) -> None:
        """400, saying what is right."""
        for values in (
            [b""],
            [b"0"],
            [b"30001"],
            [b"99999"],
            [b"100000"],
            [b"9" * 5000],
            [b"-1"],
            [b"+1"],
            [b"01"],
            [b"1.0"],
            [b"1e3"],
            [b"1_0"],
            [b"1 000"],
            [b"1, 2"],
            [b"1s"],
            [b"true"],
            [b"100\n"],
            ["٣".encode()],
            [b"1000", b"1000"],
        ):
            error = self.assertRaises(PushRefused, read_time, values)
            self.assertEqual((error.status, error.code), (400, "BAD_REQUEST"), values)
            self.assertIn(str(MAX_TIME), error.message)

    @moderately
    @given(st.lists(st.binary(max_size=6) | st.integers(-5, 40000).map(lambda number: b"%d" % number), max_size=2))
    def test_anything(self, values: list[bytes]) -> None:
        """A time within the limits, or a refusal."""
        try:
            seconds = read_time(values)
        except PushRefused as error:
            self.assertEqual((error.status, error.code), (400, "BAD_REQUEST"))
        else:
            if seconds is None:
                self.assertEqual(values, [])
            else:
                self.assertTrue(1 <= round(seconds * 1000) <= MAX_TIME)
                self.assertEqual(values, [b"%d" % round(seconds * 1000)])


class ConfirmationTestCase(SynchronousTestCase):
    """The pushes that wait for one client's pongs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.confirmations = Confirmations(SECRET, self.clock)
        #: What they are told, by the order in which they began.
        self.told: dict[int, object] = {}
        self._begun = 0

    def wait(self, seconds: float = 10.0) -> tuple[Deferred[bool], bytes]:
        """:returns: a wait that has begun, and the ping that goes out for it"""
        number, self._begun = self._begun, self._begun + 1
        deferred = self.confirmations.wait(seconds)

        def told(result: object) -> None:
            self.assertNotIn(number, self.told)
            self.told[number] = result

        deferred.addCallbacks(told, lambda failure: told(failure.type))
        ping = self.confirmations.ping()
        assert ping is not None
        return deferred, ping


class ConfirmationTests(ConfirmationTestCase):
    """From the ping to what is told."""

    def test_pong(self) -> None:
        """Told at once, and once; no timer is left."""
        _, ping = self.wait()
        self.assertEqual(self.told, {})
        self.confirmations.pong(ping)
        self.assertEqual(self.told, {0: True})
        self.confirmations.pong(ping)
        self.confirmations.give_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """When the time is over; a pong that comes later is nothing any more."""
        _, ping = self.wait(0.5)
        self.clock.advance(0.49)
        self.assertEqual(self.told, {})
        self.clock.advance(0.01)
        self.assertEqual(self.told, {0: False})
        self.confirmations.pong(ping)
        self.assertEqual(self.told, {0: False})

    def test_a_later_pong_proves_what_was_before(self) -> None:
        """RFC 6455 §5.5.3: the most recent ping may be the only one that is answered."""
        for _ in range(2):
            self.wait()
        _, third = self.wait()
        self.wait()
        self.confirmations.pong(third)
        self.assertEqual(self.told, {0: True, 1: True, 2: True})

    def test_an_earlier_pong_proves_nothing_behind_it(self) -> None:
        """Each ping has its place."""
        _, first = self.wait()
        self.wait()
        self.confirmations.pong(first)
        self.assertEqual(self.told, {0: True})

    def test_the_pong_to_a_ping_that_nobody_waits_for(self) -> None:
        """Its wait is over, or was cancelled: it proves the earlier ones all the same."""
        self.wait(10)
        _, late = self.wait(1)
        given_up, cancelled = self.wait(10)
        self.wait(10)
        self.clock.advance(1)
        given_up.cancel()
        self.confirmations.pong(late)
        self.assertEqual(self.told, {0: True, 1: False, 2: CancelledError})
        self.confirmations.pong(cancelled)
        self.assertEqual(len(self.told), 3)

    def test_pongs_that_prove_nothing(self) -> None:
        """Those that answer liveness pings, unasked ones, and those of a client that tries to know them by heart."""
        _, ping = self.wait()
        other = Confirmations(b"another secret", self.clock)
        other.wait(1)
        foreign = other.ping()
        assert foreign is not None
        other.give_up()
        for payload in (
            b"",
            b"unasked",
            ping[:-1],
            ping + b"\0",
            ping[:8],
            bytes(16),
            b"\xff" * 16,
            ping[:-1] + bytes([ping[-1] ^ 1]),
            (2).to_bytes(8, "big") + ping[8:],
            (0).to_bytes(8, "big") + ping[8:],
            foreign,
        ):
            self.confirmations.pong(payload)
            self.assertEqual(self.told, {}, payload)
        self.confirmations.pong(ping)
        self.assertEqual(self.told, {0: True})

    def test_pings_differ(self) -> None:
        """All fit a control frame (RFC 6455 §5.5), and none tells of the secret."""
        pings = [self.wait()[1] for _ in range(MAX_WAITING)]
        self.assertEqual(len(set(pings)), MAX_WAITING)
        self.assertTrue(all(len(ping) <= 125 and SECRET not in ping for ping in pings))

    def test_no_ping_for_nobody(self) -> None:
        """When all who waited are told, there is nothing to ask for."""
        self.assertIsNone(self.confirmations.ping())
        self.wait(1)
        self.clock.advance(1)
        self.assertIsNone(self.confirmations.ping())

    def test_cancelled(self) -> None:
        """Forgotten, with its timer."""
        deferred, ping = self.wait()
        deferred.cancel()
        self.assertEqual(self.told, {0: CancelledError})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.confirmations.pong(ping)
        self.confirmations.give_up()
        deferred.cancel()

    def test_given_up(self) -> None:
        """The connection is over: all are told."""
        for _ in range(3):
            self.wait()
        self.confirmations.give_up()
        self.assertEqual(self.told, {0: False, 1: False, 2: False})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bound(self) -> None:
        """So many may wait, and others once they are told."""
        for _ in range(MAX_WAITING):
            self.assertFalse(self.confirmations.is_full)
            self.wait()
        self.assertTrue(self.confirmations.is_full)
        self.confirmations.give_up()
        self.assertFalse(self.confirmations.is_full)

    def test_what_is_told_begins_another(self) -> None:
        """A pusher that pushes again as soon as it has its answer: a new ping."""
        first = self.confirmations.wait(10)
        first.addCallback(lambda _: self.wait())
        ping = self.confirmations.ping()
        assert ping is not None
        self.confirmations.pong(ping)
        self.assertEqual(self.told, {})
        again = self.confirmations.ping()
        assert again is not None
        self.assertNotEqual(again, ping)
        self.confirmations.pong(again)
        self.assertEqual(self.told, {0: True})

    def test_what_is_told_cancels_another(self) -> None:
        """One that is about to be told as well."""
        first = self.confirmations.wait(10)
        second, _ = self.wait(10)
        first.addCallback(lambda _: second.cancel())
        self.confirmations.give_up()
        self.assertEqual(self.told, {0: CancelledError})

    def test_freed(self) -> None:
        """Nothing refers to a Deferred once no push waits, not even a cycle."""
        for end in ("pong", "cancel", "late"):
            deferred, ping = self.wait(1)
            if end == "pong":
                self.confirmations.pong(ping)
            elif end == "cancel":
                deferred.cancel()
            else:
                self.clock.advance(1)
            reference = weakref.ref(deferred)
            collecting = gc.isenabled()
            gc.disable()
            try:
                del deferred
                self.assertIsNone(reference(), end)
            finally:
                if collecting:
                    gc.enable()


class AnyOrderTests(ConfirmationTestCase):
    """Whatever happens in whatever order."""

    @moderately
    @given(
        st.lists(
            st.tuples(st.just("wait"), st.integers(1, 5))
            | st.tuples(st.sampled_from(["pong", "cancel"]), st.integers(0, 20))
            | st.tuples(st.just("advance"), st.integers(1, 3))
            | st.tuples(st.just("give up"), st.just(0)),
            max_size=40,
        )
    )
    def test_any_order(self, events: list[tuple[str, int]]) -> None:
        """Each is told once: the truth about the pongs that came in its time."""
        self.setUp()
        waits: list[tuple[Deferred[bool], bytes]] = []
        expected: dict[int, object] = {}
        until: dict[int, float] = {}
        for event, number in events:
            if event == "wait":
                until[len(waits)] = self.clock.seconds() + number
                waits.append(self.wait(number))
            elif event == "pong" and number < len(waits):
                self.confirmations.pong(waits[number][1])
                expected = {**dict.fromkeys(range(number + 1), True), **expected}
            elif event == "cancel" and number < len(waits):
                waits[number][0].cancel()
                expected.setdefault(number, CancelledError)
            elif event == "advance":
                self.clock.advance(number)
                for each, end in until.items():
                    if end <= self.clock.seconds():
                        expected.setdefault(each, False)
            elif event == "give up":
                self.confirmations.give_up()
                expected = {**dict.fromkeys(range(len(waits)), False), **expected}
            self.assertEqual(self.told, expected)
            self.assertEqual(len(self.clock.getDelayedCalls()), len(waits) - len(expected))
