"""Proxies in front: who is believed, and how far."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.gate import Gate, SecureWire, handshake_request, read_answer
from tests.properties import moderately
from wsaas.net.http1.forwarded import believed, read_entry
from wsaas.net.http1.messages import RequestFields, RequestHead


def told(
    proxies: int, *, addresses: tuple[str, ...] = (), protos: tuple[str, ...] = (), secure: bool = False
) -> tuple[str | None, bool]:
    """:returns: what is believed of a handshake from 192.0.2.1

    :param addresses: lines of ``X-Forwarded-For``
    :param protos: lines of ``X-Forwarded-Proto``
    """
    headers = Headers({"X-Forwarded-For": list(addresses), "X-Forwarded-Proto": list(protos)})
    return believed(proxies, RequestHead(b"GET", b"/", b"HTTP/1.1", RequestFields.of(headers), secure, "192.0.2.1"))


class EntryTests(SynchronousTestCase):
    """One entry of ``X-Forwarded-For``."""

    def test_addresses(self) -> None:
        """In their usual form, whatever proxies put around them."""
        for entry, address in (
            (b"198.51.100.7", "198.51.100.7"),
            (b" \t198.51.100.7 ", "198.51.100.7"),
            (b"198.51.100.7:4711", "198.51.100.7"),
            (b"2001:DB8:0::1", "2001:db8::1"),
            (b"[2001:db8::1]", "2001:db8::1"),
            (b"[2001:db8::1]:4711", "2001:db8::1"),
            (b"::ffff:198.51.100.7", "198.51.100.7"),
        ):
            self.assertEqual(read_entry(entry), address)

    def test_what_is_none(self) -> None:
        """Unknown, obfuscated, empty, broken, forged."""
        for entry in (
            b"",
            b" ",
            b"unknown",
            b"_hidden",
            b"unix:",
            b"localhost",
            b"198.51.100",
            b"198.51.100.256",
            b"198.51.100.007",
            b"198.51.100.7:",
            b"198.51.100.7:123456",
            b"[198.51.100.7",
            b"[2001:db8::1",
            b"2001:db8::1]:80",
            b"2001:db8::1%eth0",
            b"fe80::1%\x80",
            b'"198.51.100.7"',
            b"198.51.100.7;x",
            b"198.51.100.7 198.51.100.8",
            b"1" * 5000,
            b"\xd9\xa1.1.1.1",
        ):
            self.assertIsNone(read_entry(entry), entry)


class AddressTests(SynchronousTestCase):
    """Who the client is."""

    def test_the_nth_from_the_right(self) -> None:
        """Across lines as within one; what stands before it is nobody's word."""
        lists = (("10.0.0.9, 10.0.0.3, 10.0.0.2, 10.0.0.1",), ("10.0.0.9", "10.0.0.3, 10.0.0.2", "10.0.0.1"))
        for lines in lists:
            for proxies, client in ((1, "10.0.0.1"), (2, "10.0.0.2"), (3, "10.0.0.3"), (4, "10.0.0.9")):
                self.assertEqual(told(proxies, addresses=lines)[0], client)

    def test_fewer_than_there_should_be(self) -> None:
        """The outermost of whom a proxy told; without any, the socket's."""
        self.assertEqual(told(3, addresses=("10.0.0.2, 10.0.0.1",))[0], "10.0.0.2")
        self.assertEqual(told(3)[0], "192.0.2.1")
        self.assertEqual(told(1, addresses=("",))[0], "192.0.2.1")

    def test_an_entry_that_is_no_address(self) -> None:
        """The next hop towards the gateway, and never the entry before it, which is the client's own."""
        self.assertEqual(told(2, addresses=("10.9.9.9, unknown, 10.0.0.1",))[0], "10.0.0.1")
        self.assertEqual(told(1, addresses=("10.9.9.9, unknown",))[0], "192.0.2.1")
        self.assertEqual(told(2, addresses=("10.9.9.9, unknown, _x",))[0], "192.0.2.1")

    def test_empty_entries_count(self) -> None:
        """Or one of the client's would move to their place."""
        self.assertEqual(told(1, addresses=("10.9.9.9,",))[0], "192.0.2.1")
        self.assertEqual(told(1, addresses=("10.9.9.9", ""))[0], "192.0.2.1")
        self.assertEqual(told(2, addresses=("10.9.9.9, , 10.0.0.1",))[0], "10.0.0.1")

    @moderately
    @given(
        st.integers(1, 5),
        st.lists(st.text("0123456789.:abcf,[]% \tunkow_", max_size=30), max_size=4),
        st.lists(st.ip_addresses().map(str) | st.sampled_from(["unknown", "", "10.0.0.1:80", "_x"]), max_size=5),
    )
    def test_nothing_beyond_trusted_hops(self, proxies: int, forged: list[str], hops: list[str]) -> None:
        """Whatever a client sends, it is the word of a trusted proxy, or the socket's."""
        trusted = hops[-proxies:]
        client, secure = told(proxies, addresses=(*forged, *hops), protos=(*forged, *["http"] * len(hops)))
        words = {word for word in map(read_entry, map(str.encode, trusted)) if word is not None}
        if len(hops) >= proxies:
            self.assertIn(client, words | {"192.0.2.1"})
            self.assertFalse(secure)
            # Nothing that the client sends makes a difference.
            self.assertEqual(client, told(proxies, addresses=tuple(hops))[0])
        if read_entry(hops[-proxies].encode() if len(hops) >= proxies else b"") is not None:
            self.assertEqual(client, read_entry(hops[-proxies].encode()))

    @moderately
    @given(st.integers(1, 5), st.lists(st.binary(max_size=40), max_size=4))
    def test_always_an_address(self, proxies: int, lines: list[bytes]) -> None:
        """In the form in which addresses are compared, whatever came."""
        clean = [line.replace(b"\r", b"").replace(b"\n", b"") for line in lines]
        headers = Headers({b"X-Forwarded-For": clean, b"X-Forwarded-Proto": clean})
        client, _ = believed(
            proxies, RequestHead(b"GET", b"/", b"HTTP/1.1", RequestFields.of(headers), False, "192.0.2.1")
        )
        assert client is not None
        self.assertEqual(str(ip_address(client)), client)


class ProtoTests(SynchronousTestCase):
    """How the client came."""

    def test_words(self) -> None:
        """Of either protocol, in any case; they win over the socket, in both directions."""
        for word, secure in (("https", True), ("WSS", True), (" http ", False), ("ws", False)):
            self.assertEqual(told(1, protos=(word,), secure=not secure)[1], secure)

    def test_other_words(self) -> None:
        """Say nothing."""
        for word in ("", "on", "h2", "https;", "https http"):
            for secure in (False, True):
                self.assertEqual(told(1, protos=(word,), secure=secure)[1], secure)
        self.assertTrue(told(1, secure=True)[1])

    def test_lists(self) -> None:
        """The same hop as for the address; a single value is that of all of them."""
        self.assertFalse(told(1, protos=("https, http",))[1])
        self.assertTrue(told(2, protos=("https, http",))[1])
        self.assertTrue(told(2, protos=("http", "https", "http"))[1])
        self.assertTrue(told(3, protos=("https",))[1])
        self.assertTrue(told(2, protos=("http, x, https",))[1])


class RoadTests(SynchronousTestCase):
    """From the handshake to the API."""

    def make(self, proxies: int, **settings: str) -> Gate:
        """:returns: a gateway"""
        self.gate = Gate(None, TRUST_PROXY=str(proxies), **settings)
        return self.gate

    def check(self, client: str | None, *, secure: bool) -> None:
        """What the API was told last."""
        call = self.gate.agent.last
        self.assertEqual((call.header("Ws-Client"), call.header("X-Forwarded-For")), (client, client))
        scheme = ("wss", "https") if secure else ("ws", "http")
        self.assertEqual((call.header("Ws-Scheme"), call.header("X-Forwarded-Proto")), scheme)

    SENT = (("X-Forwarded-For", "10.0.0.9, 10.0.0.2"), ("x-forwarded-for", "10.0.0.1"), ("X-Forwarded-Proto", "https"))

    def test_nobody_is_believed_unless_asked(self) -> None:
        """The socket's address and scheme, whatever is sent."""
        self.make(0).begin("/", *self.SENT)
        self.check("192.0.2.1", secure=False)
        self.gate.begin("/", ("X-Forwarded-Proto", "http"), kind=SecureWire)
        self.check("192.0.2.1", secure=True)

    def test_one(self) -> None:
        """The last one, wherever it stands."""
        self.make(1).begin("/", *self.SENT)
        self.check("10.0.0.1", secure=True)

    def test_two(self) -> None:
        """The one before."""
        self.make(2).begin("/", *self.SENT)
        self.check("10.0.0.2", secure=True)

    def test_a_socket_without_address(self) -> None:
        """As behind a proxy on the same machine."""
        gate = self.make(1)
        gate.begin("/", *self.SENT, peer=UNIXAddress("/run/x"))
        self.check("10.0.0.1", secure=True)
        gate.begin("/", peer=UNIXAddress("/run/x"))
        self.check(None, secure=False)

    def test_other_spellings(self) -> None:
        """Are other headers."""
        self.make(1).begin("/", ("X_Forwarded_For", "10.0.0.1"), ("Forwarded", "for=10.0.0.1;proto=https"))
        self.check("192.0.2.1", secure=False)

    def test_the_whole_life(self) -> None:
        """Also once it is open, and in the end; and what GET tells."""
        gate = self.make(1)
        wire = gate.open("/", *self.SENT)
        self.assertEqual(gate.ask("GET", f"/{gate.key}").json["client"], "10.0.0.1")
        wire.end()
        self.assertEqual(gate.agent.methods, ["POST", "DELETE"])
        self.check("10.0.0.1", secure=True)

    def test_on_a_connection_that_carried_another(self) -> None:
        """A proxy may send many clients through one connection: each is told of by its own handshake."""
        gate = self.make(1)
        wire = gate.begin("/", ("X-Forwarded-For", "10.0.0.1"))
        gate.agent.last.answer(403)
        wire.take()
        wire.deliver(handshake_request("/", ("X-Forwarded-For", "10.0.0.2")))
        self.check("10.0.0.2", secure=False)

    def test_admission(self) -> None:
        """``WS_MAX_PER_ADDRESS`` is about clients, not about the proxy that all of them come through."""
        gate = self.make(1, WS_MAX_PER_ADDRESS="1")
        for number in range(5):
            gate.open("/", ("X-Forwarded-For", f"10.0.0.{number}"))
        wire = gate.begin("/", ("X-Forwarded-For", "10.9.9.9, 10.0.0.4"))
        self.assertEqual(read_answer(wire.take())[0].status, 429)
