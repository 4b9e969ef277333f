"""Standard Webhooks: the second signature, for those who asked for it (protocol §2.5)."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from tests.gate import BINARY, TEXT, ApiCall, Gate, close_frame, frame, handshake_request
from tests.signatures import sign, webhook_signature
from wsaas.callbacks.signature import ConnectionSigner, Signer, make_signer
from wsaas.connections.messages import Close, ClosedBy, End, PendingDisconnect, Remembered

KEYS = [bytes(range(24)), bytes(range(100, 132))]
WORDS = [b64encode(key).decode("ascii") for key in KEYS]
#: One as Standard Webhooks writes it, one as ``openssl rand -base64 32`` makes it.
SECRETS = f"whsec_{WORDS[0]} {WORDS[1]}"


class WebhookTests(SynchronousTestCase):
    """Callbacks that carry both."""

    def gate(self) -> Gate:
        """:returns: a gateway that signs by both rules"""
        return Gate(API_SECRET=SECRETS, API_WEBHOOK_SIGNATURE="on")

    def check(self, call: ApiCall) -> None:
        """Both are right, and say the same of the call."""
        sent = [(name, value) for name, values in call.headers.getAllRawHeaders() for value in values]
        body = call.body or b""
        self.assertEqual(call.header("webhook-id"), call.header("Ws-Id"))
        self.assertEqual(call.header("webhook-timestamp"), call.header("Ws-Timestamp"))
        expected = " ".join(webhook_signature(key, sent, body) for key in KEYS)
        self.assertEqual(call.header("webhook-signature"), expected)
        self.assertEqual(call.header("Ws-Signature"), sign(SECRETS.encode("ascii"), call.method, sent, body))

    def test_every_call(self) -> None:
        """POST, text, binary, no text at all, DELETE: whatever the API remembers."""
        gate = self.gate()
        gate.agent.react = lambda call: call.answer(
            200, b'{"code": "OK"}', ("Ws-State", "Ws-Timestamp: 1 webhook-id: x"), ("Ws-User", "7")
        )
        wire = gate.open_as(handshake_request("/", ("User-Agent", "Ws-Id: 1")))
        wire.deliver(frame(TEXT, b'{"a": 1}') + frame(BINARY, b"\xff\0") + frame(TEXT, b"") + close_frame(1000))
        gate.turn()
        calls = gate.agent.calls
        self.assertEqual([call.method for call in calls], ["POST", "PUT", "PUT", "PUT", "DELETE"])
        for call in calls:
            self.check(call)

    def test_a_retry(self) -> None:
        """Has the same name, another time and another signature."""
        gate = self.gate()
        wire = gate.open()
        wire.deliver(frame(TEXT, b"a"))
        first = gate.agent.last
        first.answer(503)
        gate.clock.advance(30)
        second = gate.agent.last
        self.check(first)
        self.check(second)
        self.assertEqual(first.header("webhook-id"), second.header("webhook-id"))
        self.assertNotEqual(first.header("webhook-signature"), second.header("webhook-signature"))

    def test_what_an_earlier_process_left(self) -> None:
        """Its DELETE has one, too."""
        gate = self.gate()
        end = End(Close(1006), ClosedBy.CRASH)
        pending = PendingDisconnect(gate.last_identity, b"/chat", "192.0.2.1", Remembered("a", "7"), end, 3, gate.now())
        gate.disconnects.resume([pending])
        gate.clock.advance(2)
        self.assertEqual(gate.agent.last.method, "DELETE")
        self.check(gate.agent.last)

    def test_renewed(self) -> None:
        """Other secrets bring other keys, also for connections that are there."""
        signer = make_signer([b"x" * 32], [KEYS[0]])
        assert signer is not None
        of_connection = signer.for_connection(b"Ws-Id: tag-")
        stamp = b"\r\nWs-Timestamp: 1767225600\r\n"
        for key in (KEYS[0], KEYS[1]):
            signer.renew([b"y" * 32], [key])
            lines = of_connection.line(b"PUT", b"1", stamp, b"hello").decode("ascii").split("\r\n")
            sent = [(b"webhook-id", b"tag-1"), (b"webhook-timestamp", b"1767225600")]
            self.assertIn(f"webhook-signature: {webhook_signature(key, sent, b'hello')}", lines)

    def test_nobody_else_pays(self) -> None:
        """Without the setting there is neither a header nor anything that could make one."""
        gate = Gate(API_SECRET=SECRETS)
        gate.open()
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            self.assertIsNone(gate.agent.calls[0].header(name))
        signer = make_signer([b"x" * 16])
        assert signer is not None
        self.assertIs(type(signer), Signer)
        self.assertIs(type(signer.for_connection(b"Ws-Id: tag-")), ConnectionSigner)
