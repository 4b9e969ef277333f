"""Handshakes that lie, and what the API is told of them."""

from __future__ import annotations

from tests.attacks.attack import Attack, AttackTestCase
from tests.recording_api import Call
from tests.signatures import sign
from tests.wire import Reply, handshake

SECRET = "of-sixteen-letters-and-more"
PATH = "/chat?room=7"
HOST = "gateway.example"


class ForgeryTestCase(AttackTestCase):
    """Protocol §2: what the API is told is true, whatever the client says.

    After each attack, all that the API was told in that client's name is looked at.
    """

    title = "Forged identity"
    #: Whom the API is told of.
    client = "127.0.0.1"
    #: Headers in which the API is told what the client said.
    of_the_client = frozenset({"WS_ORIGIN", "WS_USER_AGENT", "AUTHORIZATION", "SEC_WEBSOCKET_PROTOCOL"})

    async def begin(self, **settings: str) -> None:
        await super().begin(API_SECRET=SECRET, **settings)

    async def check_nothing_lost(self, row: Attack) -> None:
        await super().check_nothing_lost(row)
        for call in self.api.calls:
            if call.ws_uri != self._bystanders_uri:
                self.check_true(call)

    def check_true(self, call: Call) -> None:
        """Each of the gateway's headers stands there once, is its own, and nothing else passes for one of them.

        An API looks headers up as its framework names them: under WSGI, CGI and PHP with ``-`` and ``_`` alike.
        """
        pairs = [(name, value) for name, values in call.headers.getAllRawHeaders() for value in values]
        found: dict[str, list[str]] = {}
        for name, value in pairs:
            found.setdefault(name.decode("ascii").upper().replace("-", "_"), []).append(value.decode("latin-1"))
        expected = {
            "WS_SIGNATURE": sign(SECRET.encode(), call.method, pairs, call.body),
            "WS_CLIENT": self.client,
            "X_FORWARDED_FOR": self.client,
            "WS_SCHEME": "ws",
            "X_FORWARDED_PROTO": "http",
            "HOST": f"127.0.0.1:{self.api.port}",
            **self.expected_target(),
            **{"POST": {"CONTENT_TYPE": "application/json"}, "PUT": {"CONTENT_TYPE": "text/plain; charset=utf-8"}}.get(
                call.method, {"WS_CLOSE_CODE": "1000", "WS_CLOSED_BY": "client"}
            ),
        }
        for key, only in expected.items():
            self.assertEqual(found.pop(key), [only], key)
        ours = {
            "WS_URI": rf"http://127\.0\.0\.1:{self.port}/[A-Za-z0-9_-]{{22,}}",
            "WS_ID": r"[A-Za-z0-9_-]{22}-(?:0|1|end)",
            "WS_TIMESTAMP": "[0-9]{10}",
            "USER_AGENT": r"wsaas/\S+",
            "CONTENT_LENGTH": "[0-9]+",
            "CONNECTION": "(?i:keep-alive)",
            "ACCEPT_ENCODING": "identity",
            "WS_PATH": r"/[!-~]*",
            "WS_HOST": r"[!-~]+",
        }
        for key, values in found.items():
            self.assertEqual(len(values), 1, (key, values))
            if key not in self.of_the_client:
                self.assertRegex(values[0], f"^{ours.get(key, '(?!)')}$", key)

    def expected_target(self) -> dict[str, str]:
        """:returns: what the API has to be told of the target, if it is the same in all handshakes of a test"""
        return {"WS_PATH": PATH, "WS_HOST": HOST}

    async def forged(self, *lines: str) -> str:
        """Send handshakes with more header lines.

        :returns: the statuses of the answers
        """
        return await self.forge(*[handshake(PATH)[:-2] + line.encode("latin-1") + b"\r\n\r\n" for line in lines])

    async def forge(self, *requests: bytes) -> str:
        """Send handshakes; who is let in sends a message and closes.

        :returns: the statuses of the answers
        """
        return self.statuses(*[await self._forge(request) for request in requests])

    async def _forge(self, request: bytes) -> Reply:
        wire = await self.dial()
        wire.send(request)
        reply = await wire.reply()
        if reply.status == 101:
            wire.send_text("hello")
            wire.send_close(1000)
            await wire.end()
        return reply
