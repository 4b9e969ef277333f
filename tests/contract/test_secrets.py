"""Signed callbacks and pushes with a token, on real sockets (protocol §2 and §3)."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from urllib.parse import urlsplit

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest

from bench.ports import free_port
from tests.contract.case import ContractTestCase
from tests.contract.test_pushes import PushTestCase
from tests.recording_api import Answer, Call
from tests.signatures import sign
from tests.unit.settings.test_read import SECRETS
from tests.waiting import reactor, within
from tests.wire import NOBODY, TEXT, Frame

#: Protocol §2 in another language: what Node's crypto makes of requests that it reads from the command line.
NODE = """
const { createHash, createHmac } = require('crypto');
const [secrets, calls] = JSON.parse(process.argv[1]);
console.log(JSON.stringify(calls.map(([method, headers, body]) => {
  const lines = headers.map(([name, value]) => `${name.toLowerCase()}:${value}`);
  const signed = lines.filter((line) => /^ws-(?!signature:)/.test(line)).sort();
  const hash = createHash('sha256').update(Buffer.from(body, 'base64')).digest('hex');
  const text = [method, ...signed, hash].join('\\n');
  return secrets.map((secret) => 'v1=' + createHmac('sha256', secret).update(text, 'latin1').digest('hex')).join(' ');
})));
"""


def pairs(call: Call) -> list[tuple[bytes, bytes]]:
    """:returns: all headers of a call"""
    return [(name, value) for name, values in call.headers.getAllRawHeaders() for value in values]


class SignatureTests(ContractTestCase):
    """``API_SECRET``: ``Ws-Signature`` on every callback."""

    async def callbacks(self, **settings: str) -> list[Call]:
        """:returns: the callbacks of a connection with all headers that there are, and of one with few"""
        await self.serve(**settings)
        self.api.script["POST"] = Answer(headers=[("Ws-State", "user=7; role=admin")])
        page = [("Origin", "https://page.example"), ("User-Agent", "Mozilla/5.0 (é: x;  y)")]
        client = await self.connect("/chat?room=7", page)
        for message in ("hello", "", "grün"):
            client.send_text(message)
            await self.api.call("PUT")
        client.send_close(4001, "spät: 100 %")
        await self.api.call("DELETE")
        await self.life(message=bytes(range(256)))
        calls = list(self.api.calls)
        self.assertEqual(
            [call.method for call in calls], ["POST", "PUT", "PUT", "PUT", "DELETE", "POST", "PUT", "DELETE"]
        )
        return calls

    async def test_every_callback(self) -> None:
        """One for each secret, in their order."""
        for secrets in (SECRETS, SECRETS.split()[0]):
            for call in await self.callbacks(API_SECRET=secrets):
                expected = sign(secrets.encode("ascii"), call.method, pairs(call), call.body)
                self.assertEqual(call.all("Ws-Signature"), [expected], call.method)
            await self.stop_gateway()
            self.api.calls.clear()

    async def test_without_a_secret(self) -> None:
        """There is none."""
        for call in await self.callbacks():
            self.assertEqual(call.all("Ws-Signature"), [])

    async def test_clients_cannot_sign(self) -> None:
        """A signature of theirs goes nowhere."""
        await self.serve(API_SECRET=SECRETS)
        life = await self.life(headers=[("Ws-Signature", "v1=0"), ("Ws_Signature", "v1=0"), ("ws-timestamp", "0")])
        for call in life.calls:
            self.assertEqual(call.all("Ws-Signature"), [sign(SECRETS.encode(), call.method, pairs(call), call.body)])
            self.assertEqual(call.all("Ws_Signature"), [])

    async def test_with_nodes_crypto(self) -> None:
        """Another implementation comes to the same result."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("Node is not installed")
        calls = await self.callbacks(API_SECRET=SECRETS)
        recorded = [
            (
                call.method,
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs(call)],
                b64encode(call.body).decode("ascii"),
            )
            for call in calls
        ]
        argument = json.dumps([SECRETS.split(), recorded])
        running = getProcessOutputAndValue(node, ["-e", NODE, argument], reactor=reactor)
        output, errors, status = await within(running, "Node")
        self.assertEqual((errors, status), (b"", 0))
        self.assertEqual(json.loads(output), [call.header("Ws-Signature") for call in calls])


class TokenTests(PushTestCase):
    """``PUSH_TOKEN``: which pushes pass."""

    NEW, OLD, WRONG = (("Authorization", f"Bearer {token}") for token in ("new", "old", "wrong"))

    async def test_with_a_token(self) -> None:
        """Each of the tokens will do, for every method; several on one connection."""
        await self.serve(PUSH_TOKEN="new old")
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        for header in (self.NEW, self.OLD):
            self.check_ok(await self.push("PUT", ws_uri, b"a", [header]))
            self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
            self.assertEqual((await self.push("GET", ws_uri, headers=[header])).json["code"], "OK")
            pusher.send(self.request("PUT", ws_uri, b"b", [header]) + self.request("PUT", ws_uri, b"c", [header]))
            for body in (b"b", b"c"):
                self.check_ok(await pusher.reply())
                self.assertEqual(await client.frame(), Frame(TEXT, body))
        self.check_ok(await self.push("DELETE", ws_uri, headers=[self.OLD]))
        await client.closed()

    async def test_without(self) -> None:
        """401, in the same words whether there is such a connection or not; nothing happens."""
        await self.serve(PUSH_TOKEN="new old")
        client, ws_uri = await self.connected()
        nobody = f"{ws_uri.rpartition('/')[0]}/{NOBODY}"
        for headers in ([], [self.WRONG], [self.NEW, self.OLD], [("Authorization", "Basic bmV3")]):
            for method, body in (("PUT", b"a"), ("GET", None), ("DELETE", None)):
                replies = [await self.push(method, uri, body, headers) for uri in (ws_uri, nobody)]
                for reply in replies:
                    self.check_refused(reply, 401, "UNAUTHORIZED")
                    self.assertEqual(reply.header("WWW-Authenticate"), "Bearer")
                self.assertEqual(replies[0].body, replies[1].body)
        await self.check_alive(client)

    async def test_on_the_head(self) -> None:
        """Before the key and any body; the method comes first."""
        await self.serve(PUSH_TOKEN="new old")
        _, ws_uri = await self.connected()
        parts = urlsplit(ws_uri)
        for uri in (ws_uri, f"{parts.scheme}://{parts.netloc}/{NOBODY}"):
            for method, status in (("PUT", 401), ("POST", 405)):
                pusher = await self.dial()
                huge = [("Content-Length", "999999999"), ("Expect", "100-continue"), self.WRONG]
                pusher.send(self.request(method, uri, headers=huge))
                self.assertEqual((await pusher.reply()).status, status)

    async def test_a_listener_of_their_own(self) -> None:
        """The token is asked for there, too; the clients' listener refuses pushes with a token as without."""
        port = free_port()
        await self.serve(
            PUSH_TOKEN="new",
            PUSH_LISTEN=f"tcp:{port}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{port}",
        )
        client, ws_uri = await self.connected()
        self.assertEqual((await self.push("PUT", ws_uri, b"a")).status, 401)
        self.check_ok(await self.push("PUT", ws_uri, b"a", [self.NEW]))
        self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
        wrong_port = ws_uri.replace(f":{port}/", f":{self.port}/")
        self.assertEqual((await self.push("PUT", wrong_port, b"a", [self.NEW])).status, 405)
