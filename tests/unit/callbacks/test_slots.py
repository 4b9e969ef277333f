"""``API_MAX_REQUESTS`` (protocol §2.1): who may be on the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.callbacks.slots import Slots


def _note(_: None, served: list[str], method: str) -> None:
    served.append(method)


class SlotsTests(SynchronousTestCase):
    """Slots, and those who wait for them."""

    def test_free_slots_are_had_at_once(self) -> None:
        """Without a turn of the reactor."""
        slots = Slots(4)
        self.successResultOf(slots.acquire("PUT"))
        self.successResultOf(slots.acquire("POST"))
        self.assertEqual((slots.held, slots.waiting), (2, 0))

    def test_no_more_than_all(self) -> None:
        """Whoever comes then waits until one is given back."""
        slots = Slots(2)
        self.successResultOf(slots.acquire("PUT"))
        self.successResultOf(slots.acquire("POST"))
        waiting = slots.acquire("DELETE")
        self.assertNoResult(waiting)
        self.assertEqual((slots.held, slots.waiting), (2, 1))
        slots.release("POST")
        self.successResultOf(waiting)
        self.assertEqual((slots.held, slots.waiting), (2, 0))

    def test_one_slot_serves_every_method(self) -> None:
        """A share of nothing would let nobody through."""
        for method in ("POST", "PUT", "DELETE"):
            slots = Slots(1)
            self.successResultOf(slots.acquire(method))
            self.assertNoResult(slots.acquire("PUT"))

    def test_hanging_puts_do_not_keep_out_the_others(self) -> None:
        """No method holds more than three quarters."""
        slots = Slots(8)
        for _ in range(6):
            self.successResultOf(slots.acquire("PUT"))
        seventh = slots.acquire("PUT")
        self.assertNoResult(seventh)
        self.successResultOf(slots.acquire("POST"))
        self.successResultOf(slots.acquire("DELETE"))
        slots.release("POST")
        self.assertNoResult(seventh)
        slots.release("PUT")
        self.successResultOf(seventh)

    def test_within_a_method_the_first_to_wait_is_the_first_to_go(self) -> None:
        """Whoever comes later does not overtake."""
        slots = Slots(1)
        slots.acquire("PUT")
        waiting = [slots.acquire("PUT") for _ in range(3)]
        for index in range(3):
            slots.release("PUT")
            self.successResultOf(waiting[index])
            for later in waiting[index + 1 :]:
                self.assertNoResult(later)

    def test_two_busy_methods_do_not_starve_the_third(self) -> None:
        """While POSTs and PUTs always wait, and never for long, a DELETE has its turn all the same."""
        slots = Slots(4)
        for method in ("PUT", "PUT", "PUT", "POST"):
            self.successResultOf(slots.acquire(method))
        for method in ("PUT", "POST") * 100:
            self.assertNoResult(slots.acquire(method))
        disconnect = slots.acquire("DELETE")
        for method in ("PUT", "POST") * 20:
            slots.release(method)
        self.successResultOf(disconnect)

    def test_few_slots_are_shared_in_turn(self) -> None:
        """Where all hold equally many, the method served longest ago is next, even with a single slot."""
        for total in (1, 2, 3):
            slots = Slots(total)
            served: list[str] = []
            for _ in range(20):
                for method in ("POST", "PUT", "DELETE"):
                    slots.acquire(method).addCallback(_note, served, method)
            for _ in range(30):
                slots.release(served[len(served) - total])
            for method in ("POST", "PUT", "DELETE"):
                self.assertGreater(served.count(method), 5, f"{method} of {total}")

    def test_a_free_slot_goes_to_the_method_that_has_fewest(self) -> None:
        """Not back to the one that has most, even if that waits longest."""
        slots = Slots(8)
        for method in ("PUT", "PUT", "PUT", "PUT", "PUT", "PUT", "POST", "POST"):
            self.successResultOf(slots.acquire(method))
        message, question, disconnect = slots.acquire("PUT"), slots.acquire("POST"), slots.acquire("DELETE")
        slots.release("PUT")
        self.successResultOf(disconnect)
        slots.release("PUT")
        self.successResultOf(question)
        self.assertNoResult(message)
        slots.release("DELETE")
        self.successResultOf(message)

    def test_a_quarter(self) -> None:
        """What DELETEs that are paid late may hold; one at least."""
        self.assertEqual([Slots(total).quarter for total in (1, 3, 4, 7, 8, 256)], [1, 1, 1, 1, 2, 64])

    def test_who_stops_waiting_is_forgotten(self) -> None:
        """And takes no slot from those behind."""
        slots = Slots(1)
        slots.acquire("PUT")
        first, second = slots.acquire("PUT"), slots.acquire("PUT")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(slots.waiting, 1)
        slots.release("PUT")
        self.successResultOf(second)
        self.assertEqual((slots.held, slots.waiting), (1, 0))

    def test_a_slot_may_be_given_back_by_who_just_got_it(self) -> None:
        """At once, before the release that gave it has returned."""
        slots = Slots(1)
        slots.acquire("PUT")
        done = [slots.acquire("PUT").addCallback(lambda _: slots.release("PUT")) for _ in range(50)]
        slots.release("PUT")
        for deferred in done:
            self.successResultOf(deferred)
        self.assertEqual((slots.held, slots.waiting), (0, 0))

    @moderately
    @given(
        st.integers(1, 9),
        st.lists(
            st.tuples(st.sampled_from(["acquire", "release", "cancel"]), st.sampled_from(["POST", "PUT", "DELETE"]))
        ),
    )
    def test_any_course_of_events(self, total: int, events: list[tuple[str, str]]) -> None:
        """The bounds hold at every moment, nobody waits in vain, and nothing is lost in the end."""
        slots = Slots(total)
        held: dict[str, int] = {"POST": 0, "PUT": 0, "DELETE": 0}
        queues: dict[str, list[Deferred[None]]] = {"POST": [], "PUT": [], "DELETE": []}

        def granted(_: None, method: str, deferred: Deferred[None]) -> None:
            held[method] += 1
            if deferred in queues[method]:
                self.assertIs(queues[method][0], deferred)
                queues[method].pop(0)

        share = total - total // 4
        for event, method in events:
            if event == "acquire":
                deferred = slots.acquire(method)
                queues[method].append(deferred)
                deferred.addCallbacks(granted, lambda _: None, callbackArgs=(method, deferred))
            elif event == "release" and held[method]:
                held[method] -= 1
                slots.release(method)
            elif event == "cancel" and queues[method]:
                queues[method].pop().cancel()
            self.assertLessEqual(sum(held.values()), total)
            self.assertLessEqual(max(held.values()), share)
            self.assertEqual((slots.held, slots.waiting), (sum(held.values()), sum(map(len, queues.values()))))
            for name, queue in queues.items():
                self.assertFalse(queue and slots.held < total and held[name] < share, "a free slot and somebody waits")
