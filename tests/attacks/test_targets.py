"""What a client asks for: paths, hosts, methods, sizes; and where it must not be seen."""

from __future__ import annotations

from tests.attacks.attack import attack
from tests.attacks.forged import ForgeryTestCase
from tests.recording_api import Answer
from tests.wire import handshake


class TargetTests(ForgeryTestCase):
    """Request lines and ``Host``."""

    def expected_target(self) -> dict[str, str]:
        """They differ."""
        return {}

    def told_of(self, name: str) -> list[str]:
        """:returns: what the API was told in a header of each POST but the bystander's"""
        posts = [call for call in self.api.calls if call.method == "POST" and call.ws_uri != self._bystanders_uri]
        return [str(call.header(name)) for call in posts]

    @attack(
        "Paths that could become header lines",
        sent="``/a%0d%0aWs-State:%20x``, ``%00``, ``%2e%2e/``, ``//evil.example/``, ``/../``, ``;``, ``?`` and ``#`` "
        "in the path: passed on unchanged",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_escaped(self) -> str:
        await self.begin()
        paths = [
            "/a%0d%0aWs-State:%20x",
            "/%00",
            "/%2e%2e/%2e%2e/etc",
            "//evil.example/",
            "/../../",
            "/;a?b?c#d",
            "/\\",
        ]
        answer = await self.forge(*[handshake(path) for path in paths])
        self.assertEqual(self.told_of("Ws-Path"), paths)
        return answer

    @attack(
        "Paths with illegal bytes",
        sent="raw CR, LF, CR LF, NUL, TAB, blank, DEL, ESC, UTF-8 and 0xFF in the target, some with a header line "
        "behind",
        answer="400",
    )
    async def test_raw(self) -> str:
        await self.begin()
        odd = ("\r", "\n", "\r\n", "\0", "\t", " ", "\x7f", "\x1b[2J", "\xc3\xa9", "\xff")
        return await self.forge(*[handshake(f"/a{text}Ws-State: x") for text in odd], *map(handshake, ["/\xff", "/ "]))

    @attack(
        "Targets that are not a path",
        sent="absolute form with another host, authority form, ``*``, no slash, nothing",
        answer="400",
    )
    async def test_no_path(self) -> str:
        await self.begin()
        targets = ("http://evil.example/", "ws://evil.example/", "evil.example:443", "*", "chat", "?a", "")
        return await self.forge(*map(handshake, targets))

    @attack(
        "Invalid ``Host``",
        sent="none, an empty one, blanks in it, TAB, NUL, UTF-8, a second one, one on a folded line",
        answer="400",
    )
    async def test_no_host(self) -> str:
        await self.begin()
        hosts = ("", "a b", "a\tb", "a\0", "\xc3\xa9.example", "a\r\nHost: b", "a\r\n b", "a\rb")
        return await self.forge(handshake(without=["Host"]), *[handshake(host=host) for host in hosts])

    @attack(
        "A foreign ``Host``",
        sent="``evil.example``, with user information, port 99999, two hosts with a comma, markup: passed on "
        "unchanged, and no ``ws_uri`` contains any of it",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_other_hosts(self) -> str:
        await self.begin()
        hosts = ["evil.example", "gateway.example@evil.example", "x:99999", "a,b", "<script>", "127.0.0.1/../x"]
        answer = await self.forge(*[handshake(host=host) for host in hosts])
        self.assertEqual(self.told_of("Ws-Host"), hosts)
        return answer

    @attack(
        "Endless heads",
        sent="a target of 2,049 bytes and of 100 KB, forwarded headers of 6 KiB, one header of 100 KB, 400 of 100 "
        "bytes, 4,000 short ones, a method of 100 KB",
        answer="414 or 431",
    )
    async def test_sizes(self) -> str:
        await self.begin()
        return await self.forge(
            handshake("/" + "x" * 2048),
            handshake("/" + "x" * 100_000),
            handshake(headers=[("Authorization", "x" * 6144)]),
            handshake(headers=[("X-Long", "x" * 100_000)]),
            handshake(headers=[(f"X-{number}", "x" * 100) for number in range(400)]),
            handshake(headers=[(f"X-{number}", "") for number in range(4000)]),
            handshake(method="G" * 100_000),
        )

    @attack(
        "Endless heads, with the bounds as high as they go",
        sent="``WS_MAX_TARGET=16384``, ``WS_MAX_HEADERS=32768``: a target of 16,385 bytes and of 1 MB, forwarded "
        "headers of one byte too many, a head of 57,345 bytes, 490 lines of 120 bytes, 4,000 short ones",
        answer="414 or 431",
    )
    async def test_highest_sizes(self) -> str:
        await self.begin(WS_MAX_TARGET="16384", WS_MAX_HEADERS="32768")
        line = len("GET / HTTP/1.1")
        return await self.forge(
            handshake("/" + "x" * 16_384),
            handshake("/" + "x" * 1_000_000),
            handshake(headers=[("Authorization", "x" * (32_769 - len("Authorization")))]),
            f"GET / HTTP/1.1\r\nX: {'x' * (57_345 - line - 3)}\r\n\r\n".encode("ascii"),
            handshake(headers=[(f"X-{number:03}", "x" * 120) for number in range(490)]),
            handshake(headers=[(f"X-{number}", "") for number in range(4000)]),
        )

    @attack(
        "Handshakes with other methods",
        sent="``POST``, ``HEAD``, ``OPTIONS``, ``TRACE``, ``CONNECT``, ``PATCH``, ``get``, ``GETT``, ``PUT`` and "
        "``DELETE``",
        answer="404 or 426",
    )
    async def test_methods(self) -> str:
        await self.begin()
        methods = {"404": ("PUT", "DELETE"), "426": ("POST", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "GETT")}
        wire = await self.dial()
        wire.send(handshake(method="HEAD"))
        self.assertEqual((await wire.reply(head_only=True)).status, 426)
        return await self.each(methods, lambda method: self.forge(handshake("/" + "x" * 22, method=method)))

    @attack(
        "A handshake on another client's ``ws_uri``",
        sent="the bystander's ``ws_uri`` as the path of handshakes, with ``Ws-Uri`` and without: a connection of its "
        "own",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_on_a_ws_uri(self) -> str:
        await self.begin()
        path = "/" + self._bystanders_uri.rpartition("/")[2]
        answer = await self.forge(handshake(path), handshake(path, headers=[("Ws-Uri", self._bystanders_uri)]))
        self.assertEqual(self.told_of("Ws-Path"), [path, path])
        self.assertNotIn(self._bystanders_uri, self.told_of("Ws-Uri"))
        return answer

    @attack(
        "Tokens in the log",
        sent="a token in the query, in ``Authorization``, ``Cookie``, ``Referer`` and a subprotocol; let in, refused, "
        "malformed",
        answer="101 or 400 or 403",
        api="POST; POST, PUT, DELETE 1000",
    )
    async def test_tokens(self) -> str:
        await self.begin(FORWARD_HEADERS="Authorization, Sec-WebSocket-Protocol")
        token = "t0ken-of-a-user"
        names = ("Authorization", "Cookie", "Referer", "Sec-WebSocket-Protocol", "X-Api-Key")
        request = handshake(f"/chat?token={token}", headers=[(name, token) for name in names])
        answers = [await self.each({"101": [request], "400": [request.replace(b"1.1", b"1.0", 1)]}, self.forge)]
        self.api.script["POST"] = Answer(403)
        answers.append(await self.forge(request))
        self.assertNotIn(token, self.logged())
        return " or ".join(answers)
