"""What proxies in front say of a client, from those who are none: ``haproxy:`` and ``TRUST_PROXY``."""

from __future__ import annotations

from struct import pack

from bench.ports import free_port
from tests.attacks.attack import AttackTestCase, attack
from tests.wire import Fields, Wire, handshake

V1 = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def forwarded(*values: str, name: str = "X-Forwarded-For") -> bytes:
    """:returns: a handshake with a field for each value"""
    return handshake(headers=[(name, value) for value in values])


def v2(command: int, family: int, data: bytes, length: int | None = None) -> bytes:
    """:returns: a PROXY header of version 2

    :param length: what it says of its length, if not the truth
    """
    return V2 + pack(">BBH", command, family, len(data) if length is None else length) + data


class ProxyTests(AttackTestCase):
    """Addresses and schemes that are not the attacker's."""

    title = "Proxies"

    async def begin_with_both(self, **settings: str) -> None:
        """Start the gateway with two listeners, one of which asks for a PROXY header; the bystander is at the other."""
        self.proxied, plain = free_port(), free_port()
        await self.serve(
            WS_LISTEN=f"tcp:{plain}:interface=127.0.0.1 haproxy:tcp:{self.proxied}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{plain}",
            **settings,
        )
        self.port = plain
        await self.stand_by(*await self.connected("/bystander"))

    async def clients(self, *requests: bytes) -> list[tuple[int, str, str]]:
        """Send handshakes, each on a connection of its own that stays.

        :returns: the statuses, and what the API was told of the addresses and schemes of those who were let in
        """
        got = []
        for each in requests:
            wire = await self.dial()
            wire.send(each)
            status = (await wire.reply()).status
            told = ("", "")
            if status == 101:
                post = self.api.calls[-1]
                told = (str(post.header("Ws-Client")), str(post.header("Ws-Scheme")))
                self.assertEqual(post.header("X-Forwarded-For"), told[0])
                self.assertEqual(post.header("X-Forwarded-Proto"), "https" if told[1] == "wss" else "http")
            got.append((status, *told))
        return got

    @attack(
        "A forged address without trusted proxies",
        sent="``X-Forwarded-For``, ``X-Forwarded-Proto``, ``X-Real-IP``, ``Forwarded``, ``True-Client-IP``, "
        "``CF-Connecting-IP``, ``Ws-Client``, ``Ws_Client`` without ``TRUST_PROXY``: the API is told the socket's "
        "address",
        answer="127.0.0.1 over ws",
        api="POST, DELETE 1006",
    )
    async def test_not_asked(self) -> str:
        await self.begin()
        names = ["X-Forwarded-For", "x_forwarded_for", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "Ws-Client"]
        fields: list[Fields] = [[(name, "203.0.113.9")] for name in [*names, "Ws_Client", "X-Client-IP"]]
        fields += [[("Forwarded", "for=203.0.113.9;proto=https")], [("X-Forwarded-Proto", "https")]]
        fields += [[("Ws-Scheme", "wss")]]
        got = await self.clients(*(handshake(headers=each) for each in fields))
        return " or ".join(sorted({f"{client} over {scheme}" for _, client, scheme in got}))

    @attack(
        "A forged address in a header that a trusted proxy completes",
        sent="with ``TRUST_PROXY=1``: addresses in front of the proxy's, in one field and in several, empty entries, "
        "ports, brackets, words, 1,000 entries; the last one counts",
        answer="198.51.100.7",
        api="POST, DELETE 1006",
    )
    async def test_counted_from_the_right(self) -> str:
        await self.begin(TRUST_PROXY="1")
        true = "198.51.100.7"
        before = ["203.0.113.9", "203.0.113.9, 203.0.113.10", "", ",", "unknown", "[::1]:80", '"x', "127.0.0.1"]
        got = await self.clients(
            *(forwarded(f"{each}, {true}") for each in before),
            *(forwarded(each, true) for each in before),
            forwarded(",".join(["203.0.113.9"] * 1000) + "," + true),
            forwarded(f"203.0.113.9,{true}:443"),
            forwarded("203.0.113.9", f"[::ffff:{true}]"),
        )
        return " or ".join(sorted({client for _, client, _ in got}))

    @attack(
        "An invalid last entry",
        sent="with ``TRUST_PROXY=1``: a word, a host's name, markup, 256.1.1.1, an address with a zone, with a zero in "
        "front, nothing, as the last entry; the socket's address counts",
        answer="127.0.0.1",
        api="POST, DELETE 1006",
    )
    async def test_no_address(self) -> str:
        await self.begin(TRUST_PROXY="1")
        entries = ["unknown", "evil.example", "<script>", "256.1.1.1", "0x7f.1", "1", "010.0.0.1", "", "203.0.113.9,"]
        entries += ["203.0.113.9;x", "203.0.113.9 x", "_hidden", "203.0.113.9:99999999", "::1::", "\xd9\xa1.1.1.1"]
        got = await self.clients(*map(forwarded, entries))
        return " or ".join(sorted({client for _, client, _ in got}))

    @attack(
        "``wss`` where it was ``ws``",
        sent="with ``TRUST_PROXY=1``: ``X-Forwarded-Proto`` of ``https`` in front of the proxy's ``http``, of "
        "``gopher``, of ``https`` in a list behind which there is nothing",
        answer="ws",
        api="POST, DELETE 1006",
    )
    async def test_scheme(self) -> str:
        await self.begin(TRUST_PROXY="1")
        values = ["https, http", "https,ws", "gopher", "https,", "https;", "https http", "on", "1", ""]
        one = [forwarded(value, name="X-Forwarded-Proto") for value in values]
        got = await self.clients(*one, forwarded("https", "http", name="X-Forwarded-Proto"))
        return " or ".join(sorted({scheme for *_, scheme in got}))

    @attack(
        "Getting around ``WS_MAX_PER_ADDRESS``",
        sent="a fourth client of one address: with invented entries before the proxy's, as an IPv4 address mapped to "
        "IPv6, with a port; and of one IPv6 network, with other last 64 bits",
        answer="429",
        api="POST, DELETE 1006",
    )
    async def test_limit(self) -> str:
        await self.begin(TRUST_PROXY="1", WS_MAX_PER_ADDRESS="3")
        await self.clients(*(forwarded("198.51.100.7") for _ in range(3)))
        await self.clients(*(forwarded(f"2001:db8:1:2::{number}") for number in range(3)))
        others = ["203.0.113.1, 198.51.100.7", "198.51.100.7:4711", "::ffff:198.51.100.7", "[::ffff:c633:6407]:1"]
        others += ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:DB8:1:2::", "[2001:db8:0001:0002::9]:443"]
        got = await self.clients(*map(forwarded, others))
        return " or ".join(sorted({str(status) for status, *_ in got}))

    @attack(
        "Using up another address's connections",
        sent="without ``TRUST_PROXY``, three clients that say they are the bystander's neighbour, with "
        "``WS_MAX_PER_ADDRESS=3``: the attacker's own are counted, and with it another network's client gets in",
        answer="429, then 101",
        api="POST, DELETE 1006",
    )
    async def test_poisoning(self) -> str:
        await self.begin_with_both(WS_MAX_PER_ADDRESS="3")
        got = await self.clients(*(forwarded("198.51.100.7") for _ in range(3)))
        wire = await self.dial(self.proxied)
        wire.send(b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n" + handshake())
        return f"{got[-1][0]}, then {(await wire.reply()).status}"

    @attack(
        "A ``PROXY`` header where none is expected",
        sent="a header of version 1 and of version 2 before a handshake, before a push",
        answer="400",
    )
    async def test_header_not_asked_for(self) -> str:
        await self.begin()
        header = v2(0x21, 0x11, bytes([203, 0, 113, 9, 127, 0, 0, 1, 1, 1, 0, 80]))
        push = self.request("PUT", self._bystanders_uri, b"evil")
        return await self.shaken(V1 + handshake(), header + handshake(), V1 + push, header + push)

    @attack(
        "No ``PROXY`` header, or a bad one, where one is required",
        sent="none, a part of one with a handshake behind it, one of 200 bytes, invalid addresses, ports over "
        "65535, other families, other case, a line feed alone",
        answer="closed without a word",
    )
    async def test_bad_v1(self) -> str:
        await self.begin_with_both()
        lines = ["PROXY TCP4 203.0.113.9 127.0.0.1 4711", "PROXY TCP4 203.0.113.9 127.0.0.1 4711 80 x", "proxy TCP4"]
        lines += ["PROXY TCP4 256.0.113.9 127.0.0.1 1 80", "PROXY TCP4 ::1 ::1 1 80", "PROXY TCP6 1.1.1.1 1.1.1.1 1 80"]
        lines += ["PROXY TCP4 203.0.113.9 127.0.0.1 65536 80", "PROXY TCP4 203.0.113.9 127.0.0.1 -1 80", "PROXY UDP4 x"]
        lines += ["PROXY  TCP4 203.0.113.9 127.0.0.1 1 80", "PROXY TCP4 203.0.113.9%lo 127.0.0.1 1 80", "PROXY "]
        heads = [f"{line}\r\n".encode() for line in lines] + [b"", V1[:20], b"PROXY UNKNOWN" + b"x" * 200 + b"\r\n"]
        heads += [V1.replace(b"\r\n", b"\n"), b"\r\n" + V1, V1.replace(b" ", b"\t")]
        return await self.closed_without_a_word(*(head + handshake() for head in heads))

    @attack(
        "``PROXY`` headers of version 2 that lie",
        sent="too short for their addresses, 65,535 bytes, version 3, unknown commands, a broken signature, fields "
        "behind the addresses that reach over the end of all that is sent",
        answer="closed without a word",
    )
    async def test_bad_v2(self) -> str:
        await self.begin_with_both()
        addresses = bytes([203, 0, 113, 9, 127, 0, 0, 1, 1, 1, 0, 80])
        heads = [v2(0x21, 0x11, addresses, 4), v2(0x21, 0x21, addresses), v2(0x21, 0x11, b"")]
        heads += [v2(0x31, 0x11, addresses), v2(0x22, 0x11, addresses), v2(0x2F, 0x11, addresses)]
        heads += [v2(0x01, 0x11, addresses)]
        heads += [v2(0x21, 0x11, addresses, 0xFFFF), v2(0x20, 0x00, b"", 5000), v2(0x21, 0x31, addresses)]
        heads += [V2[:-1] + b"\r" + v2(0x21, 0x11, addresses)[12:], V2.replace(b"QUIT", b"quit") + addresses]
        return await self.closed_without_a_word(*(head + handshake() for head in heads))

    async def closed_without_a_word(self, *attempts: bytes) -> str:
        """:returns: that, if it is what came of each attempt at the listener that asks for a header"""
        for each in attempts:
            wire: Wire = await self.dial(self.proxied)
            wire.send(each)
            self.assertEqual(await wire.end(), b"", each[:100])
        return "closed without a word"

    @attack(
        "A second ``PROXY`` header behind the proxy's",
        sent="the same version twice, another one behind it, one before it in the same bytes",
        answer="400",
    )
    async def test_second_header(self) -> str:
        await self.begin_with_both()
        header = v2(0x21, 0x11, bytes([203, 0, 113, 9, 127, 0, 0, 1, 1, 1, 0, 80]))
        got = []
        for first, second in ((V1, V1), (V1, header), (header, V1), (header, header)):
            wire = await self.dial(self.proxied)
            wire.send(first + second + handshake())
            got.append(await wire.reply())
        return self.statuses(*got)
