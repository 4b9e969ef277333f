"""Handshakes with long heads: what ``WS_MAX_TARGET`` and ``WS_MAX_HEADERS`` let through, and what they do not."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.internet.task import LoopingCall

from tests.contract.case import ContractTestCase
from tests.waiting import reactor
from tests.wire import Reply, handshake
from wsaas.assembly import build
from wsaas.settings.read import read_settings

#: As long as a JWT with some groups in it.
TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "x" * 5000 + ".c2lnbmF0dXJl"
PATH = f"/chat?token={TOKEN}"
HIGHEST = {"WS_MAX_TARGET": "16384", "WS_MAX_HEADERS": "32768"}


class LongHeadTests(ContractTestCase):
    """Protocol §2 and §4."""

    async def refused(self, request: bytes, status: int, setting: str) -> None:
        """A request gets a status and the name of the setting that would let it in, and the API hears nothing."""
        reply: Reply = await self.shake(request)
        self.assertEqual((reply.status, setting in reply.body.decode("ascii")), (status, True), reply.body)
        self.assertEqual(self.api.calls, [])

    def folders(self) -> tuple[Path, Path]:
        """:returns: names for a ``STATE_DIR`` and a copy of it"""
        return Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()

    async def test_a_token_in_the_query(self) -> None:
        """A JWT of 5 KB is refused unless ``WS_MAX_TARGET`` lets it in; then it is in all that tells of the path."""
        await self.serve()
        await self.refused(handshake(PATH), 414, "WS_MAX_TARGET")
        await self.stop_gateway()
        await self.serve(WS_MAX_TARGET="8192")
        life = await self.life(PATH)
        self.assertEqual([call.header("Ws-Path") for call in life.calls], [PATH] * 3)
        _, ws_uri = await self.connected(PATH)
        self.assertEqual((await self.push("GET", ws_uri)).json["path"], PATH)

    async def test_after_a_crash(self) -> None:
        """The journal has it as well."""
        folder, left = self.folders()
        await self.serve(WS_MAX_TARGET="8192", STATE_DIR=str(folder))
        _, ws_uri = await self.connected(PATH)
        # What another process would find if this one were killed now.
        shutil.copytree(folder, left)
        # The bound is lower now, which is for handshakes to come.
        given = {"API_URI": f"127.0.0.1:{self.api.port}/hook", "WS_LISTEN": "tcp:0:interface=127.0.0.1"}
        next_life = build(read_settings({**given, "STATE_DIR": str(left), "DRAIN_TIMEOUT": "1000"}), reactor)
        next_life.startService()
        self.addCleanup(next_life.stopService)
        call = await self.api.call("DELETE", ws_uri)
        self.assertEqual((call.header("Ws-Closed-By"), call.header("Ws-Path")), ("crash", PATH))

    async def test_at_the_bounds(self) -> None:
        """The longest target, headers and head there can be, and one byte more of each."""
        await self.serve(**HIGHEST)
        target, value = "/" + "x" * 16_383, "x" * (32_768 - len("Authorization"))
        await self.refused(handshake(target + "x"), 414, "WS_MAX_TARGET")
        await self.refused(handshake(headers=[("Authorization", value + "x")]), 431, "WS_MAX_HEADERS")
        longest = handshake(target, [("Authorization", value)])
        # The ends of lines do not count; a cookie that is not forwarded fills the rest.
        rest = 16_384 + 32_768 + 8192 - (len(longest) - 2 * longest.count(b"\r\n")) - len("Cookie: ")
        self.assertGreater(rest, 7000)
        await self.refused(handshake(target, [("Authorization", value), ("Cookie", "c" * (rest + 1))]), 431, "WS_MAX")
        await self.connect(target, [("Authorization", value), ("Cookie", "c" * rest)])
        post = await self.api.call("POST")
        self.assertEqual((post.header("Ws-Path"), post.header("Authorization")), (target, value))

    async def test_lower_bounds(self) -> None:
        """They may be lower than the defaults, too."""
        await self.serve(WS_MAX_TARGET="256", WS_MAX_HEADERS="1024")
        await self.refused(handshake("/" + "x" * 256), 414, "WS_MAX_TARGET")
        await self.refused(handshake(headers=[("Authorization", "x" * 1024)]), 431, "WS_MAX_HEADERS")
        await self.refused(handshake(headers=[("Cookie", "x" * 9600)]), 431, "WS_MAX_HEADERS")
        await self.connect("/" + "x" * 255, [("Authorization", "x" * 1000), ("Cookie", "x" * 7000)])

    async def test_slow(self) -> None:
        """A long head has no more time than a short one."""
        await self.serve(WS_TIMEOUT="250", **HIGHEST)
        client = await self.dial()
        client.send(handshake("/" + "x" * 16_000, [("Cookie", "c" * 30_000)])[:-2])
        trickle = LoopingCall(client.send, b"X: y\r\n")
        trickle.start(0.04)
        self.addCleanup(trickle.stop)
        self.assertEqual((await client.reply()).status, 408)
        await client.end()
