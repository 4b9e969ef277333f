"""SIGHUP: what is in the files of settings takes effect while clients stay connected."""

from __future__ import annotations

import os
import signal
from base64 import b64decode, b64encode
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from tests.contract.test_settings import PATIENCE, Api, Client, ProcessTestCase
from tests.processes import start_gateway
from tests.signatures import sign, webhook_signature
from tests.wire import TEXT, frame, handshake

#: A secret is base64, so that calls can be signed by Standard Webhooks, too.
_OLD, _NEW = (b64encode(f"{age} secret of the tests, in base64".encode()).decode() for age in ("an old", "a new"))

#: What is in the files before, and after.
OLD = {
    "API_SECRET": _OLD,
    "API_HEADERS": "X-Api-Key: old",
    "PUSH_TOKEN": "old-token",
    "PUBLISH_TOKEN": "old-publisher",
    "WS_ORIGINS": "https://old.example",
    "WS_MAX_CONNECTIONS": "10",
}
NEW = {
    "API_SECRET": f"whsec_{_NEW}\n{_OLD}",
    "API_HEADERS": "X-Api-Key: new\nX-More: 1",
    "PUSH_TOKEN": "new-token",
    "PUBLISH_TOKEN": "new-publisher",
    "WS_ORIGINS": "https://new.example same",
    "WS_MAX_CONNECTIONS": "11",
}


class ReloadTests(ProcessTestCase):
    """Every ``<NAME>_FILE`` is read again."""

    def setUp(self) -> None:
        """Start a gateway whose settings are in files, with one client."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.write(OLD)
        self.hooked = self.api()
        files = {f"{name}_FILE": str(self.folder / name) for name in OLD}
        self.gateway = start_gateway(self, API_URI=self.hooked.uri, API_WEBHOOK_SIGNATURE="on", **files)
        self.first = self.client(self.gateway, "/", (("Origin", "https://old.example"),))
        (self.ws_uri,) = [headers["Ws-Uri"] for headers in self.hooked.wait_for("POST")]

    def write(self, content: dict[str, str]) -> None:
        """Change files."""
        for name, text in content.items():
            (self.folder / name).write_text(f"{text}\n")

    def reload(self, line: str = r"reloaded: API_SECRET_FILE and .*") -> str:
        """Send the signal.

        :returns: the line of the log that it causes
        """
        os.kill(self.gateway.pid, signal.SIGHUP)
        return self.gateway.wait_for_line(line).group()

    def push(self, token: str) -> int:
        """:returns: the status of a push"""
        with closing(HTTPConnection("127.0.0.1", self.gateway.port, timeout=PATIENCE)) as http:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
            http.request("PUT", "/" + self.ws_uri.rpartition("/")[2], b"hello", headers)
            response = http.getresponse()
            response.read()
            return response.status

    def asked(self, origin: str) -> int:
        """:returns: the status of the answer to a client of a page"""
        client = Client(self.gateway.port, handshake("/", (("Origin", origin),)))
        self.addCleanup(client.close)
        return client.status

    def check_signed(self, api: Api, method: str, secrets: str) -> None:
        """The last call of a method is signed with these, by both rules."""
        called, headers, body = [call for call in api.calls if call[0] == method][-1]
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.assertEqual(headers["Ws-Signature"], sign(secrets.encode(), called, pairs, body))
        keys = [b64decode(secret.removeprefix("whsec_")) for secret in secrets.split()]
        self.assertEqual(headers["webhook-signature"], " ".join(webhook_signature(key, pairs, body) for key in keys))

    def test_new_values(self) -> None:
        """From then on; the client that is connected stays so, and its calls are signed with the new secrets."""
        self.assertEqual([self.push("old-token"), self.push("old-token"), self.push("new-token")], [200, 200, 401])
        self.check_signed(self.hooked, "POST", OLD["API_SECRET"])
        self.write(NEW)
        self.assertEqual(self.push("old-token"), 200)
        self.assertEqual(
            self.reload().partition("reloaded: ")[2],
            "API_SECRET_FILE and API_HEADERS_FILE and PUSH_TOKEN_FILE and PUBLISH_TOKEN_FILE and WS_ORIGINS_FILE and "
            "WS_MAX_CONNECTIONS_FILE",
        )
        # A short way remembers what it let through.
        self.assertEqual([self.push("old-token"), self.push("new-token")], [401, 200])
        self.assertEqual([self.push("old-publisher"), self.push("new-publisher")], [401, 200])
        self.first.send(frame(TEXT, b"hello"))
        self.hooked.wait_for("PUT")
        self.check_signed(self.hooked, "PUT", NEW["API_SECRET"])
        self.assertEqual([self.asked("https://old.example"), self.asked("https://new.example")], [403, 101])
        headers = self.hooked.wait_for("POST", 2)[1]
        self.assertEqual((headers["X-Api-Key"], headers["X-More"]), ("new", "1"))
        self.check_signed(self.hooked, "POST", NEW["API_SECRET"])
        self.first.close()
        self.hooked.wait_for("DELETE")
        self.check_signed(self.hooked, "DELETE", NEW["API_SECRET"])

    def test_fewer_clients(self) -> None:
        """Those that are there stay."""
        self.write({"WS_MAX_CONNECTIONS": "1"})
        self.reload()
        self.assertEqual(self.asked("https://old.example"), 503)
        self.assertEqual(self.push("old-token"), 200)
        self.write({"WS_MAX_CONNECTIONS": "2"})
        os.kill(self.gateway.pid, signal.SIGHUP)
        self.wait_until_let_in()

    def wait_until_let_in(self) -> None:
        """A signal takes effect a little later."""
        for _ in range(100):
            if self.asked("https://old.example") == 101:
                return
        self.fail("still refused")

    def test_what_cannot_be_used(self) -> None:
        """Then nothing changes, and the log says why: all of it, and no secret."""
        self.write({"PUSH_TOKEN": "new-token", "API_SECRET": "short", "WS_ORIGINS": "old.example"})
        self.reload(r"ERROR .*not reloaded, and what was read before stays: API_SECRET_FILE: .*shorter than 16.*")
        self.gateway.wait_for_line(r"ERROR .*not reloaded, and what was read before stays: WS_ORIGINS_FILE: .*")
        self.assertEqual([self.push("old-token"), self.push("new-token")], [200, 401])
        self.assertEqual(self.asked("https://old.example"), 101)
        self.assertNotIn("short\n", self.gateway.output)
