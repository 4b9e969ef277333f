"""Requests that two programs in a row read differently, on the push side and at ``ADMIN_LISTEN``."""

from __future__ import annotations

from bench.ports import free_port
from tests.attacks.attack import any_of, attack, statuses_in
from tests.attacks.pushes import EVIL, PushAttackTestCase, request
from tests.wire import NOBODY, Fields, handshake

CHUNKED = ("Transfer-Encoding", "chunked")


class PushSmugglingTests(PushAttackTestCase):
    """Request smuggling where pushes are taken (RFC 9112 §11.2)."""

    title = "Smuggling on the push side"

    def hiding(self, fields: Fields, before: bytes = b"", method: str = "PUT") -> bytes:
        """:returns: a push in whose body, or behind it, there is another one"""
        return request(f"{method} /{self.key} HTTP/1.1", fields, before + self.put())

    @attack(
        "A length and chunks: a proxy goes by one of them",
        sent="``Content-Length`` and ``Transfer-Encoding: chunked``, in either order, in ``PUT``, ``DELETE``, ``GET`` "
        "and ``POST``, with a push in what only one of them counts",
        answer="400",
    )
    async def test_length_and_chunks(self) -> str:
        await self.begin()
        orders = [[("Content-Length", "5"), CHUNKED], [CHUNKED, ("Content-Length", "5")]]
        orders += [[("Content-Length", "0"), CHUNKED], [CHUNKED, ("content-length", "5"), ("X", "y")]]
        methods = ("PUT", "DELETE", "GET", "POST")
        return await self.told_once(
            *(self.hiding(fields, b"0\r\n\r\n", method) for fields in orders for method in methods)
        )

    @attack(
        "Two lengths",
        sent="two ``Content-Length``, different and equal, in other case, as a list, with a blank or a tab before "
        "the colon",
        answer="400",
    )
    async def test_two_lengths(self) -> str:
        await self.begin()
        pairs = [("4", "200"), ("200", "4"), ("4", "4"), ("0", "4"), ("4", "")]
        lengths: list[Fields] = [[("Content-Length", one), ("content-LENGTH", other)] for one, other in pairs]
        lengths += [[("Content-Length", both)] for both in ("4, 200", "4,4", "4;200", "4\t200")]
        lengths += [[("Content-Length ", "4")], [("Content-Length\t", "4")], [("Content-Length\x0b", "4")]]
        return await self.told_once(*(self.hiding(fields, EVIL) for fields in lengths))

    @attack(
        "Transfer codings that a proxy may read differently",
        sent="``xchunked``, ``chunked, identity``, ``identity, chunked``, ``gzip, chunked``, ``chunked, chunked``, "
        '``"chunked"``, with a vertical tab or a zero byte, with a blank before the colon, in two fields',
        answer="400",
    )
    async def test_codings(self) -> str:
        await self.begin()
        codings = ["xchunked", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked, chunked", "gzip"]
        codings += ['"chunked"', "\x0bchunked", "chunked\x0b", "\x00chunked", "chunked;x=y", ""]
        fields: list[Fields] = [[("Transfer-Encoding", coding)] for coding in codings]
        fields += [[("Transfer-Encoding ", "chunked")], [("Transfer-Encoding", "identity"), CHUNKED]]
        fields += [[CHUNKED, CHUNKED]]
        return await self.told_once(*(self.hiding(each, b"0\r\n\r\n") for each in fields))

    @attack(
        "Chunks that are counted differently",
        sent="sizes of ``-1``, ``+4``, ``0x4``, ``4_0``, nothing, with a blank before them; a "
        "line feed alone behind the size or in an extension; no line end behind the data, or another one",
        answer="400",
    )
    async def test_chunks(self) -> str:
        await self.begin()
        chunks = [b"-1\r\nevil", b"+4\r\nevil", b"0x4\r\nevil", b"4_0\r\nevil", b"\r\nevil", b" 4\r\nevil"]
        chunks += [b"g\r\nevil"]
        chunks += [b"4\nevil", b"4;x\nevil", b"4;x=\n\r\nevil", b"4\revil", b"4 4\r\nevil", b"4,4\r\nevil"]
        chunks += [b"4\r\nevilXX", b"4\r\nevil\n\n"]
        return await self.told_once(*(self.hiding([CHUNKED], chunk + b"\r\n0\r\n\r\n") for chunk in chunks))

    @attack(
        "Line ends that other programs read differently",
        sent="a line feed or a carriage return alone at the end of a line and within one, a zero byte, a field without "
        "a colon or a name, a blank before the first field, two blanks in the request line",
        answer="400",
    )
    async def test_lines(self) -> str:
        await self.begin()
        line, length = f"PUT /{self.key} HTTP/1.1", ("Content-Length", "4")
        broken = [f"X: y\n{'Transfer-Encoding: chunked'}", "X: y\rTransfer-Encoding: chunked", "X: \x00", "X\x00: y"]
        broken += ["no colon", ": no name", "bad name: x", "bad(name): x", "bad\nname: x"]
        heads = [f"{line}\r\nHost: x\r\n{each}\r\nContent-Length: 4\r\n\r\n" for each in broken]
        heads += [f"{line}\r\n Host: x\r\nContent-Length: 4\r\n\r\n", f"{line}\nHost: x\r\nContent-Length: 4\r\n\r\n"]
        heads += [f"{line}\rHost: x\r\n\r\n", f"PUT  /{self.key} HTTP/1.1\r\n\r\n"]
        heads += [f"PUT\t/{self.key}\tHTTP/1.1\r\n\r\n"]
        heads += [f"PUT /{self.key} x HTTP/1.1\r\n\r\n", f"/{self.key} HTTP/1.1\r\n\r\n"]
        whole = request(line, [length], b"evil\r\n\r\n", end="\n")
        return await self.told_once(*(head.encode() + EVIL + self.put() for head in heads), whole)

    @attack(
        "A push in the body of a request that is refused before its body is read",
        sent="401, 404, 405, 413 and 415 with a push as the body, with its length and in chunks, with ``Expect`` and "
        "without: one answer each, and the next request on the connection gets its own",
        answer="401 or 404 or 405 or 413 or 415",
    )
    async def test_behind_a_refusal(self) -> str:
        bearer = ("Authorization", "Bearer right")
        self.push_fields = (bearer,)
        await self.begin(PUSH_TOKEN="right", WS_MAX_MESSAGE="1000")
        hidden = self.put([bearer])
        refused: list[tuple[str, str, Fields]] = [("PUT", self.key, ()), ("PUT", NOBODY, [bearer])]
        refused += [("POST", self.key, [bearer]), ("PUT", self.key, [bearer, ("Content-Encoding", "gzip")])]
        size, chunks = ("Content-Length", str(len(hidden))), b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        bodies: list[tuple[Fields, bytes]] = [([size], hidden), ([CHUNKED], chunks)]
        bodies += [([*fields, ("Expect", "100-continue")], body) for fields, body in bodies]
        tried = [
            request(f"{method} /{key} HTTP/1.1", [*why, *how], body)
            for method, key, why in refused
            for how, body in bodies
        ]
        tried.append(request(f"PUT /{self.key} HTTP/1.1", [bearer, ("Content-Length", "200000")], hidden * 9))
        firsts = []
        for each in tried:
            wire = await self.pusher()
            wire.send(each + request("OPTIONS / HTTP/1.1", [("Connection", "close")]))
            first, *others = (await wire.end()).split(b"HTTP/1.1 ")[1:]
            firsts.append(b"HTTP/1.1 " + first)
            # The next request is answered on a connection that goes on, and not read on one that does not.
            self.assertIn([other[:3] for other in others], ([], [b"426"]))
        return any_of(*map(statuses_in, firsts))

    @attack(
        "Trailers of a push",
        sent="``Authorization``, ``Ws-Confirm`` and ``Content-Length`` as trailers of a push in chunks without a token",
        answer="401",
    )
    async def test_trailers(self) -> str:
        self.push_fields = (("Authorization", "Bearer right"),)
        await self.begin(PUSH_TOKEN="right")
        line = f"PUT /{self.key} HTTP/1.1"
        trailers = b"0\r\nAuthorization: Bearer right\r\nContent-Length: 9\r\nWs-Confirm: 9\r\n\r\n"
        named = [CHUNKED, ("Trailer", "Authorization")]
        return await self.told_once(*(request(line, how, b"4\r\nevil\r\n" + trailers) for how in (named, [CHUNKED])))

    @attack(
        "Pushes in other versions of HTTP",
        sent="0.9, 1.0 with chunks and with two lengths, 1.2, 2.0, ``HTTP/1.1.1``, ``http/1.1``, ``HTTP/x``, the first "
        "bytes of HTTP/2, a ``PROXY`` header",
        answer="400",
    )
    async def test_versions(self) -> str:
        await self.begin()
        path = f"PUT /{self.key}"
        lines = [
            f"GET /{self.key}",
            *(f"{path} {version}" for version in ("HTTP/1.2", "HTTP/2.0", "HTTP/1.1.1", "http/1.1", "HTTP/x")),
        ]
        old = [request(f"{path} HTTP/1.0", [("Content-Length", "4"), ("Content-Length", "9")], EVIL)]
        old.append(request(f"{path} HTTP/1.0", [("Content-Length", "4"), CHUNKED], b"0\r\n\r\n" + self.put()))
        others = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + self.put()]
        return await self.told_once(*map(request, lines), *old, *others)

    @attack(
        "Answers that come in another order than the requests",
        sent="a push that waits for a pong, then one to an unknown key on the same connection: its answer waits",
        answer="202, then 404",
        api="POST, DELETE 1006",
    )
    async def test_order(self) -> str:
        await self.begin()
        _, uri = await self.connected()
        wire = await self.pusher()
        wire.send(self.request("PUT", uri, b"x", [("Ws-Confirm", "30")]) + self.put(target=f"/{NOBODY}"))
        return f"{(await wire.reply()).status}, then {(await wire.reply()).status}"


class AdminTests(PushAttackTestCase):
    """``ADMIN_LISTEN``, in case that somebody can reach it."""

    title = "The admin listener: ``ADMIN_LISTEN``"

    async def begin_admin(self) -> None:
        """Start the gateway with an ``ADMIN_LISTEN``; what is sent goes there."""
        port = free_port()
        await self.begin(ADMIN_LISTEN=f"tcp:{port}:interface=127.0.0.1")
        self.pushes_at = port

    @attack(
        "Paths beside the three pages",
        sent="``/``, ``/metrics/``, ``//metrics``, ``/metrics/..``, ``/../etc/passwd``, ``/%2e%2e/``, ``/METRICS``, "
        "``/metrics%2f``, ``/debug``, ``/.env``, a ``ws_uri``; with ``PUT`` and as a handshake, too",
        answer="404",
    )
    async def test_paths(self) -> str:
        await self.begin_admin()
        paths = ["/", "*", "/metrics/", "//metrics", "/metrics/..", "/./metrics", "/../../etc/passwd", f"/{self.key}"]
        paths += ["/%2e%2e/metrics", "/METRICS", "/metrics%2f", "/metrics%00", "/metrics;x", "/debug/pprof", "/.env"]
        asked = [request(f"{method} {path} HTTP/1.1") for method in ("GET", "PUT", "DELETE") for path in paths]
        return await self.told_each(*asked, handshake(), handshake(f"/{self.key}"))

    @attack(
        "Other methods",
        sent="``PUT``, ``DELETE``, ``POST``, ``OPTIONS``, ``TRACE`` and ``CONNECT`` on each page; a body with ``GET``; "
        "``POST`` with ``X-HTTP-Method-Override``",
        answer="400 or 405",
    )
    async def test_methods(self) -> str:
        await self.begin_admin()
        pages = ("/healthz", "/readyz", "/metrics")
        methods = ("PUT", "DELETE", "POST", "OPTIONS", "TRACE", "CONNECT", "get")
        override = [("X-HTTP-Method-Override", "GET")]
        asked = [self.put(override, method=method, target=page) for page in pages for method in methods]
        return await self.told_each(*asked, *(self.put(method="GET", target=page) for page in pages))

    @attack(
        "Smuggling at ``ADMIN_LISTEN``",
        sent="a length and chunks, two lengths, codings, negative and endless lengths, a carriage return alone, each "
        "with a request for a page behind it",
        answer="400",
    )
    async def test_smuggling(self) -> str:
        await self.begin_admin()
        how: list[Fields] = [[("Content-Length", "5"), CHUNKED], [("Content-Length", "0"), ("Content-Length", "40")]]
        how += [[("Transfer-Encoding", coding)] for coding in ("gzip, chunked", "xchunked", "identity, chunked")]
        how += [[("Content-Length", length)] for length in ("-1", "1" + "0" * 30, "0x0", "")]
        how += [[("Content-Length ", "0")], [("X", "y\rTransfer-Encoding: chunked")]]
        page = request("GET /metrics HTTP/1.1")
        asked = [request("GET /healthz HTTP/1.1", fields, b"0\r\n\r\n" + page) for fields in how]
        return await self.told_once(*asked)

    @attack(
        "Endless requests at ``ADMIN_LISTEN``",
        sent="a path and a query of 20,000 bytes, a field of that length, 1,000 fields, a body of 10 GB",
        answer="400 or 414 or 431",
    )
    async def test_long(self) -> str:
        await self.begin_admin()
        long, page = "x" * 20_000, "GET /metrics HTTP/1.1"
        return await self.told_once(
            request(f"GET /{long} HTTP/1.1"),
            request(f"GET /metrics?{long} HTTP/1.1"),
            request(page, [("X", long)]),
            request(page, [(f"X-{number}", "y") for number in range(1000)]),
            request(page, [("Content-Length", "10000000000")]),
        )

    @attack(
        "Learning keys, addresses and paths from the pages",
        sent="``GET`` on each page with clients connected: no key, no tag, no address and no path of a client in it",
        answer="200",
    )
    async def test_learning(self) -> str:
        await self.begin_admin()
        got = await self.answers(*(request(f"GET /{page} HTTP/1.1") for page in ("healthz", "readyz", "metrics")))
        tag = str(self.api.calls[0].header("Ws-Id"))[:22]
        for answer in got:
            for secret in (self.key, tag, "127.0.0.1", "bystander", str(self.api.port)):
                self.assertNotIn(secret.encode(), answer.body)
        return self.statuses(*got)
