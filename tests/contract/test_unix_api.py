"""An API on a UNIX socket: the same callbacks as over TCP (protocol §1, §2)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.contract.case import ContractTestCase
from tests.recording_api import Answer
from tests.wire import handshake


class UnixApiTests(ContractTestCase):
    """``API_URI=unix:/run/api.sock:/path``, as gunicorn, PHP-FPM's fronts and sidecars listen."""

    def setUp(self) -> None:
        """Make a folder whose path is short enough."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = str(Path(folder.name, "api.sock"))
        super().setUp()

    def listen_api(self) -> None:
        """Listen there."""
        self.api.listen_unix(self.socket)

    @property
    def uri(self) -> str:
        """``API_URI``."""
        return f"unix:{self.socket}:/hook?a=b:c"

    async def test_life(self) -> None:
        """POST, PUT and DELETE, from localhost to localhost, on one connection."""
        await self.serve(API_URI=self.uri)
        self.api.script["PUT"] = Answer(headers=[("Ws-Reply", "text")], body=b"hi")
        life = await self.life("/chat?room=7")
        self.assertEqual([call.method for call in life.calls], ["POST", "PUT", "DELETE"])
        for call in life.calls:
            self.assertEqual((call.target, call.header("Host")), ("/hook?a=b:c", "localhost"))
            self.assertEqual(call.ws_uri, life.post.ws_uri)
        self.assertEqual(json.loads(life.post.body), {"ws_uri": life.post.ws_uri})
        self.assertEqual((life.put.body, life.delete.header("Ws-Close-Code")), (b"hello", "1000"))

    async def test_large_message(self) -> None:
        """More than the socket takes at once."""
        await self.serve(API_URI=self.uri, WS_MAX_MESSAGE="4000000", WS_MAX_BUFFER="8000000")
        message = bytes(range(256)) * 12_000
        self.assertEqual((await self.life(message=message)).put.body, message)

    async def test_pushes(self) -> None:
        """They come back over TCP, as always."""
        await self.serve(API_URI=self.uri)
        client, ws_uri = await self.connected()
        self.assertEqual((await self.put_text(ws_uri, "pushed")).status, 200)
        self.assertEqual((await client.frame()).payload, b"pushed")

    async def test_missing(self) -> None:
        """No socket: the client gets 503, as if nobody listened; when it is there, the next client is let in."""
        await self.api.stop_listening()
        await self.serve(API_URI=self.uri)
        self.assertEqual((await self.shake(handshake())).status, 503)
        await self.until_logged("no connection to the API: .*No such file")
        self.listen_api()
        await self.connect()

    async def test_started_again(self) -> None:
        """A message waits for the socket to be there again, and is delivered once."""
        await self.serve(API_URI=self.uri)
        client, _ = await self.connected()
        await self.api.stop_listening()
        client.send_text("hello")
        await self.until_logged("No such file")
        self.listen_api()
        self.assertEqual((await self.api.call("PUT")).body, b"hello")

    async def test_nobody_accepts(self) -> None:
        """The queue of the socket is full: that is refused at once, and nothing spins."""
        path = f"{self.socket}.full"
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
            listener.bind(path)
            listener.listen(0)
            first.connect(path)
            await self.serve(API_URI=f"unix:{path}:/hook")
            self.assertEqual((await self.shake(handshake())).status, 503)

    async def test_silent(self) -> None:
        """``API_TIMEOUT`` holds there, too."""
        await self.serve(API_URI=self.uri, API_TIMEOUT="100ms")
        self.api.script["POST"] = None
        self.assertEqual((await self.shake(handshake())).status, 504)
