"""Standard Webhooks: the libraries that others wrote take what the gateway signs (protocol §2.5)."""

from __future__ import annotations

from twisted.internet.threads import deferToThread

from tests import tools
from tests.contract.case import ContractTestCase
from tests.recording_api import Call
from tests.unit.callbacks.test_webhook_signature import SECRETS, WORDS
from tests.wire import BINARY, TEXT, frame

#: Bodies of messages: text that is JSON, text that is none, text beyond ASCII, no text at all.
BODIES = (b'{"a": 1}', b"hello", "žluťoučký 🐎".encode(), b"")
BYTES = b"\xff\0"
#: Each of them alone, as Standard Webhooks writes it and without the prefix; and one that is not the gateway's.
KEYS = (*SECRETS.split(), f"whsec_{WORDS[1]}", WORDS[0])
OTHER = "whsec_" + "A" * 32

#: Both print for each secret and call whether it is accepted.
PYTHON = """
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
secrets, calls = json.load(sys.stdin)
def accepts(secret, headers, body):
    try:
        Webhook(secret).verify(bytes.fromhex(body), headers, json_parse=False)
    except (WebhookVerificationError, UnicodeDecodeError):
        return False
    return True
print(json.dumps([[accepts(secret, *call) for call in calls] for secret in secrets]))
"""
JAVASCRIPT = """
const { Webhook } = require('standardwebhooks');
const [secrets, calls] = JSON.parse(require('fs').readFileSync(0));
const accepts = (secret, [headers, body]) => {
  try {
    new Webhook(secret).verify(Buffer.from(body, 'hex'), headers, { jsonParse: false });
  } catch {
    return false;
  }
  return true;
};
console.log(JSON.stringify(secrets.map((secret) => calls.map((call) => accepts(secret, call)))));
"""


def plain(call: Call) -> tuple[dict[str, str], str]:
    """:returns: headers and body of a call"""
    return {name.decode(): values[0].decode() for name, values in call.headers.getAllRawHeaders()}, call.body.hex()


class StandardWebhooksTests(ContractTestCase):
    """Calls of a running gateway, checked by libraries."""

    #: A program of its own starts, on a machine that may be busy.
    timeout = 90

    async def calls(self) -> list[tuple[dict[str, str], str]]:
        """:returns: the calls of a whole life"""
        await self.serve(API_SECRET=SECRETS, API_WEBHOOK_SIGNATURE="on")
        client = await self.connect("/chat")
        client.send(b"".join(frame(TEXT, body) for body in BODIES))
        for _ in BODIES:
            await self.api.call("PUT")
        client.send_close(1000)
        await self.api.call("DELETE")
        self.assertEqual([call.method for call in self.api.calls], ["POST", *["PUT"] * len(BODIES), "DELETE"])
        return [plain(call) for call in self.api.calls]

    async def forged(self, calls: list[tuple[dict[str, str], str]]) -> list[tuple[dict[str, str], str]]:
        """:returns: each with another body, another id and another time"""
        found = []
        for headers, body in calls:
            found.append((headers, body + "20"))
            found.append(({**headers, "webhook-id": headers["webhook-id"] + "0"}, body))
            found.append(({**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body))
        # Names of headers are as the wire has them.
        self.assertTrue(all("webhook-id" in headers for headers, _ in found))
        return found

    async def test_python(self) -> None:
        """PyPI's ``standardwebhooks``."""
        tools.tool("python")
        calls = [
            ({name.lower(): value for name, value in headers.items()}, body) for headers, body in await self.calls()
        ]
        asked = [[*KEYS, OTHER], [*calls, *await self.forged(calls)]]
        found = await deferToThread(tools.ask_python, PYTHON, asked)
        expected = [True] * len(calls) + [False] * 3 * len(calls)
        self.assertEqual(found, [expected] * len(KEYS) + [[False] * len(expected)])

    async def test_javascript(self) -> None:
        """npm's."""
        calls = [
            ({name.lower(): value for name, value in headers.items()}, body) for headers, body in await self.calls()
        ]
        asked = [[*KEYS, OTHER], [*calls, *await self.forged(calls)]]
        found = await deferToThread(tools.ask_node, JAVASCRIPT, "standardwebhooks", asked)
        expected = [True] * len(calls) + [False] * 3 * len(calls)
        self.assertEqual(found, [expected] * len(KEYS) + [[False] * len(expected)])

    async def test_bytes(self) -> None:
        """Neither can check a binary message that is no text: ``Ws-Signature`` is for these."""
        tools.tool("python")
        await self.serve(API_SECRET=SECRETS, API_WEBHOOK_SIGNATURE="on")
        client = await self.connect()
        client.send(frame(BINARY, BYTES))
        call = plain(await self.api.call("PUT"))
        self.assertEqual(await deferToThread(tools.ask_python, PYTHON, [KEYS, [call]]), [[False]] * len(KEYS))
