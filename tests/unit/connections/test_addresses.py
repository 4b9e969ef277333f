"""Connections counted by address: exactly, and with no memory of who has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import TEXT, Gate, Wire, close_frame, frame, handshake_request, http_request, read_answer
from tests.properties import moderately
from wsaas.connections.addresses import Addresses, origin


class OriginTests(SynchronousTestCase):
    """What is counted."""

    def test_ipv4(self) -> None:
        """Each address for itself."""
        self.assertEqual(origin("192.0.2.1"), "192.0.2.1")

    def test_ipv6(self) -> None:
        """One network of 64 bits, which is what one customer has at least."""
        self.assertEqual(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff:ffff:ffff:ffff"))
        self.assertNotEqual(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"))


class AddressesTests(SynchronousTestCase):
    """The counter alone."""

    def test_in_and_out(self) -> None:
        """Nothing is kept of who is gone."""
        addresses = Addresses(2)
        addresses.enter("192.0.2.1")
        addresses.enter("192.0.2.1")
        self.assertEqual((addresses.count("192.0.2.1"), addresses.has_room("192.0.2.1")), (2, False))
        self.assertTrue(addresses.has_room("192.0.2.2"))
        addresses.leave("192.0.2.1")
        self.assertTrue(addresses.has_room("192.0.2.1"))
        addresses.leave("192.0.2.1")
        self.assertEqual((len(addresses), addresses.count("192.0.2.1")), (0, 0))

    def test_no_address(self) -> None:
        """Clients of UNIX sockets are not counted."""
        addresses = Addresses(1)
        addresses.enter(None)
        self.assertEqual((len(addresses), addresses.count(None), addresses.has_room(None)), (0, 0, True))
        addresses.leave(None)

    def test_no_limit(self) -> None:
        """Then nothing is counted."""
        addresses = Addresses()
        addresses.enter("192.0.2.1")
        self.assertEqual((len(addresses), addresses.has_room("192.0.2.1")), (0, True))
        addresses.leave("192.0.2.1")


def at(host: str) -> IAddress:
    """:returns: where a client is"""
    return IPv6Address("TCP", host, 50000) if ":" in host else IPv4Address("TCP", host, 50000)


class LimitTests(SynchronousTestCase):
    """``WS_MAX_PER_ADDRESS`` at a gateway."""

    def make(self, most: int = 2, **settings: str) -> Gate:
        """:returns: a gateway"""
        self.gate = Gate(None, WS_MAX_PER_ADDRESS=str(most), **settings)
        return self.gate

    def open(self, host: str = "192.0.2.1") -> Wire:
        """:returns: a client that has its 101"""
        wire = self.gate.begin(peer=at(host))
        self.gate.agent.last.answer()
        self.assertEqual(read_answer(wire.take())[0].status, 101)
        return wire

    def refused(self, host: str = "192.0.2.1") -> None:
        """One more gets 429, and the API hears nothing of it."""
        calls = len(self.gate.agent.calls)
        wire = self.gate.begin(peer=at(host))
        answer, rest = read_answer(wire.take())
        self.assertEqual((answer.status, rest, len(self.gate.agent.calls)), (429, b"", calls))
        self.assertIn(b"WS_MAX_PER_ADDRESS", answer.body)
        self.assertEqual((self.gate.upgrade.refusals["address"] > 0, self.gate.upgrade.answers[429] > 0), (True, True))
        wire.end()

    def test_one_more(self) -> None:
        """429, until one leaves; others are not concerned."""
        gate = self.make()
        wires = [self.open(), self.open()]
        self.refused()
        self.open("192.0.2.2")
        wires[0].end()
        gate.agent.last.answer()
        self.open()
        self.refused()

    def test_ipv6(self) -> None:
        """A network of 64 bits is one address; one of IPv4 is the same however it comes."""
        self.make(1)
        self.open("2001:db8::1")
        self.refused("2001:db8::2")
        self.open("2001:db8:0:1::1")
        self.open("::ffff:192.0.2.1")
        self.refused("192.0.2.1")

    def test_unix(self) -> None:
        """As many as there are."""
        gate = self.make(1)
        for _ in range(3):
            gate.begin(peer=UNIXAddress("/run/x"))
        self.assertEqual((len(gate.agent.calls), len(gate.totals.addresses)), (3, 0))

    def test_no_limit(self) -> None:
        """Is the default."""
        gate = self.make(0)
        for _ in range(20):
            self.open()
        self.assertEqual(len(gate.totals.addresses), 0)

    def test_while_the_api_is_asked(self) -> None:
        """It counts from then on, or too many would be let in at once."""
        gate = self.make(1)
        wire = gate.begin()
        self.refused()
        gate.agent.last.answer(403)
        self.assertEqual(read_answer(wire.take())[0].status, 403)
        self.assertEqual(len(gate.totals.addresses), 0)
        self.open()

    def test_after_a_refusal_on_the_same_connection(self) -> None:
        """A connection of HTTP is none of WebSocket."""
        gate = self.make(1)
        wire = gate.begin()
        gate.agent.last.answer(403)
        wire.take()
        wire.deliver(handshake_request())
        gate.agent.last.answer()
        self.assertEqual(read_answer(wire.take())[0].status, 101)
        self.refused()

    def test_while_it_is_closing(self) -> None:
        """Until TCP is over, although pushes do not find it any more."""
        gate = self.make(1)
        wire = self.open()
        self.assertEqual(gate.ask("DELETE", f"/{gate.key}").status, 200)
        self.refused()
        wire.deliver(close_frame(1000))
        gate.turn()
        self.open()

    def test_who_left_while_the_api_is_asked(self) -> None:
        """The API is busy with it all the same, or it could be kept so from a single address."""
        for status in (200, 403, 500):
            gate = self.make(1)
            gate.begin().end()
            self.refused()
            gate.agent.last.answer(status)
            self.open()

    def test_who_left_while_messages_wait(self) -> None:
        """As above: until the last one has its answer."""
        gate = self.make(1)
        wire = self.open()
        wire.deliver(frame(TEXT, b"1") + frame(TEXT, b"2"))
        wire.end()
        self.refused()
        gate.agent.last.answer(200)
        self.refused()
        gate.agent.last.answer(200)
        self.assertEqual(gate.agent.last.method, "DELETE")
        self.open()

    def test_while_its_delete_is_owed(self) -> None:
        """That is the gateway's affair, not the client's."""
        self.make(1)
        self.open().end()
        self.open()

    def test_pushes_and_other_requests(self) -> None:
        """Are no clients."""
        gate = self.make(1)
        self.open()
        self.assertEqual(gate.ask("PUT", f"/{gate.key}", b"hello").status, 200)
        wire = gate.connect()
        wire.deliver(http_request("GET", "/"))
        self.assertEqual(read_answer(wire.take())[0].status, 426)

    def test_a_takeover_that_fails(self) -> None:
        """Is told twice, by the fault and by the transport, and counted once."""
        gate = self.make(1)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(gate.factory, "_compress", fail)
        wire = gate.begin()
        gate.agent.last.answer()
        gate.turn()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertTrue(wire.over)
        self.assertEqual(len(gate.totals.addresses), 0)

    def test_a_takeover_that_fails_late(self) -> None:
        """As above, with the protocol already in its place."""
        gate = self.make(1)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(gate.factory.protocol, "sendData", fail)
        wire = gate.begin()
        gate.agent.last.answer()
        gate.turn()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertTrue(wire.over)
        self.assertEqual(len(gate.totals.addresses), 0)


class Crowd:
    """Clients of some addresses, and what becomes of them."""

    hosts = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")

    def __init__(self) -> None:
        self.gate = Gate(None, WS_MAX_PER_ADDRESS="3", WS_TIMEOUT="2000")
        #: Where from, and the POST, unless the limit refused it.
        self.wires: list[tuple[str, Wire, Any]] = []
        #: What may happen; each is given a number that chooses.
        self.events: dict[str, Callable[[int], object]] = {
            "begin": self._begin,
            "grant": lambda which: self._answer(200, b'{"code": "OK"}', *[("Ws-Close", "4000 x")][which % 3 :]),
            "refuse": lambda which: self._answer((403, 500, 204)[which % 3], b"{}"),
            "fail": self._fail,
            "leave": lambda which: self._wire(which, lambda wire: wire.end()),
            "close": lambda which: self._wire(which, lambda wire: wire.deliver(close_frame(1000))),
            "wait": lambda which: self.gate.clock.advance(which),
            "shut down": lambda _: self._shut_down(),
        }

    def _shut_down(self) -> None:
        for connection in self.gate.registry:
            connection.shut_down()

    def _begin(self, which: int) -> None:
        host = self.hosts[which % 4]
        calls = self.gate.agent.calls
        asked = sum(call.method == "POST" for call in calls)
        wire = self.gate.begin(peer=at(host))
        posts = [call for call in calls if call.method == "POST"][asked:]
        self.wires.append((host, wire, posts[0] if posts else None))

    def _post(self) -> Any:
        calls = self.gate.agent.calls
        return next((call for call in calls if call.method == "POST" and not call.result.called), None)

    def _answer(self, *answer: Any) -> None:
        post = self._post()
        if post is not None:
            post.answer(*answer)

    def _fail(self, which: int) -> None:
        post = self._post()
        if post is not None:
            post.fail(ConnectError() if which % 2 else ConnectionLost())

    def _wire(self, which: int, act: Callable[[Wire], object]) -> None:
        wires = [wire for _, wire, _ in self.wires if not wire.over]
        if wires:
            act(wires[which % len(wires)])

    def here(self, host: str) -> int:
        """:returns: about how many clients of an address the API is asked, or that had their 101 and are not gone"""
        return sum(
            post is not None
            and (not post.result.called or (not wire.over and wire.value().startswith(b"HTTP/1.1 101")))
            for it, wire, post in self.wires
            if origin(it) == origin(host)
        )

    def finish(self) -> None:
        """Leave no request waiting."""
        for _, wire, _ in self.wires:
            wire.end()
        while self._post() is not None:
            self._answer(200, b'{"code": "OK"}')


class EndsTests(SynchronousTestCase):
    """All the ways in which connections end."""

    @moderately
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "begin",
                        "begin",
                        "begin",
                        "grant",
                        "grant",
                        "refuse",
                        "fail",
                        "leave",
                        "close",
                        "wait",
                        "shut down",
                    ]
                ),
                st.integers(0, 7),
            ),
            max_size=25,
        ),
    )
    def test_however_they_end(self, events: list[tuple[str, int]]) -> None:
        """There are as many as there are, and in the end none."""
        crowd = Crowd()
        addresses = crowd.gate.totals.addresses
        for event, which in events:
            crowd.events[event](which)
            crowd.gate.turn()
            for host in crowd.hosts:
                self.assertEqual(addresses.count(host), crowd.here(host))
                self.assertLessEqual(crowd.here(host), 3)
        crowd.finish()
        self.assertEqual(len(addresses), 0)
