"""``Ws-Signature``: what is signed, with what, and that nothing of a callback can be changed unseen (protocol §2)."""

from __future__ import annotations

import hmac
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    TEXT,
    ApiCall,
    Gate,
    SecureWire,
    Wire,
    close_frame,
    frame,
    handshake_request,
    http_request,
    read_answer,
)
from tests.properties import moderately
from tests.signatures import Pairs, sign, signed_text
from tests.unit.settings.test_read import SECRETS
from wsaas.callbacks.signature import ConnectionSigner, Signer
from wsaas.connections.messages import Close, ClosedBy, End, PendingDisconnect, Remembered

KEY = SECRETS.encode("ascii")


def pairs(call: ApiCall) -> list[tuple[bytes, bytes]]:
    """:returns: all headers of a call, as they went on the wire"""
    return [(name, value) for name, values in call.headers.getAllRawHeaders() for value in values]


class SignerTests(SynchronousTestCase):
    """The code itself."""

    def test_known_answers(self) -> None:
        """RFC 4231 §4.2, §4.3, §4.7: short keys, and one longer than a block."""
        for key, text, expected in (
            (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                b"\xaa" * 131,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ):
            self.assertEqual(Signer([key]).sign(text), f"Ws-Signature: v1={expected}\r\n".encode())

    @moderately
    @given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=3), st.binary(max_size=500))
    def test_it_is_hmac(self, secrets: list[bytes], text: bytes) -> None:
        """One for each secret, in their order, again and again."""
        signer = Signer(secrets)
        expected = " ".join("v1=" + hmac.new(secret, text, "sha256").hexdigest() for secret in secrets)
        for _ in range(2):
            self.assertEqual(signer.sign(text).decode("ascii"), f"Ws-Signature: {expected}\r\n")

    def test_what_is_remembered_is_bounded(self) -> None:
        """Each ``Ws-State`` makes a block of its own."""
        signer = Signer([b"x" * 16])
        for number in range(500):
            signer.changing(b"\r\nWs-State: %d\r\n" % number)
        self.assertLessEqual(len(signer._remembered), 64)


VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(str.encode)
COMMON = (b"Ws-Uri", b"Ws-Path", b"Ws-Host", b"Ws-Scheme", b"Ws-Client", b"Ws-Origin", b"Ws-User-Agent")
CHANGING = (b"Ws-Timestamp", b"Ws-State", b"Ws-User")
LAST = (b"Ws-Close-Code", b"Ws-Close-Reason", b"Ws-Closed-By", b"Ws-Undelivered")


def lines_of(fields: Pairs) -> bytes:
    """:returns: header lines, each with its end"""
    return b"".join(b"%b: %b\r\n" % field for field in fields)


class ConnectionSignerTests(SynchronousTestCase):
    """The signed text out of parts: those that stay and those that change."""

    signer = Signer(KEY.split())

    def check(self, common: list[tuple[bytes, bytes]], changing: list[tuple[bytes, bytes]], body: bytes) -> None:
        """The same comes out as from all headers together."""
        head = lines_of(common) + b"Ws-Id: tag-"
        lines = b"\r\n" + lines_of(changing)
        line = ConnectionSigner(self.signer, head).line(b"PUT", b"12", lines, body)
        sent = [*common, (b"Ws-Id", b"tag-12"), *changing]
        self.assertEqual(line.decode("ascii"), f"Ws-Signature: {sign(KEY, 'PUT', sent, body)}\r\n")
        self.assertEqual(self.signer.line(b"PUT", lines_of(sent), body), line)

    def test_every_choice_of_headers(self) -> None:
        """Each there or not, in the order in which they are sent."""
        for mask in product((False, True), repeat=len(COMMON)):
            common = [(name, b"v") for name, there in zip(COMMON, mask, strict=True) if there]
            self.check(common, [(b"Ws-Timestamp", b"1")], b"x")
        for mask in product((False, True), repeat=len(CHANGING)):
            changing = [(name, b"v") for name, there in zip(CHANGING, mask, strict=True) if there]
            self.check([(name, b"v") for name in COMMON], changing, b"")
        for mask in product((False, True), repeat=len(LAST)):
            sent = [(name, b"v") for name in (*LAST, *COMMON) if name not in LAST or mask[LAST.index(name)]]
            line = self.signer.line(b"DELETE", lines_of(sent), b"")
            self.assertEqual(line.decode("ascii"), f"Ws-Signature: {sign(KEY, 'DELETE', sent, b'')}\r\n")

    def test_a_user_and_a_user_agent(self) -> None:
        """Lines are sorted, not names: the agent's comes first, as ``-`` comes before ``:`` (protocol §2.5)."""
        common = [(b"Ws-User-Agent", b"Browser/1.0"), (b"Ws-Uri", b"http://h/key")]
        changing = [(b"Ws-Timestamp", b"1767225600"), (b"Ws-User", b"%C3%BCnal")]
        self.check(common, changing, b"hello")
        text = signed_text("PUT", [*common, *changing], b"").split(b"\n")
        self.assertEqual(text[-3:-1], [b"ws-user-agent:Browser/1.0", b"ws-user:%C3%BCnal"])

    @moderately
    @given(st.data(), st.binary(max_size=50))
    def test_any_values(self, data: st.DataObject, body: bytes) -> None:
        """With other headers among them, which are not signed."""
        names = st.lists(st.sampled_from([*COMMON, b"Authorization", b"X-Ws-Uri", b"Wsx"]), unique=True)
        common = [(name, data.draw(VALUE)) for name in data.draw(names)]
        names = st.lists(st.sampled_from([*CHANGING, b"Content-Type"]), unique=True)
        changing = [(name, data.draw(VALUE)) for name in data.draw(names)]
        self.check(common, changing, body)


class CallbackTests(SynchronousTestCase):
    """Every callback of a connection."""

    def gate(self, **settings: str) -> Gate:
        """:returns: a gateway that signs"""
        return Gate(None, API_SECRET=SECRETS, **settings)

    def check(self, call: ApiCall) -> None:
        """Its signature fits what was sent, and stands there once."""
        expected = sign(KEY, call.method, pairs(call), call.body or b"")
        self.assertEqual(call.all("Ws-Signature"), [expected])

    def live(self, gate: Gate, wire: Wire, handshake: bytes) -> list[ApiCall]:
        """:returns: POST, PUT, PUT and DELETE of a connection, checked"""
        gate.agent.react = lambda call: call.answer(
            200, b'{"code": "OK"}', ("Ws-State", f"after {call.method}"), ("Ws-User", "%C3%BCnal"), ("Ws-Join", "a, b")
        )
        wire.deliver(handshake)
        wire.deliver(frame(TEXT, "grün".encode()) + frame(BINARY, bytes(1000)) + close_frame(4001, "späte Gründe"))
        gate.turn()
        self.assertEqual(gate.agent.methods, ["POST", "PUT", "PUT", "DELETE"])
        for call in gate.agent.calls:
            self.check(call)
        return gate.agent.calls

    def test_all(self) -> None:
        """With all headers that there are."""
        gate = self.gate(API_HEADERS="X-Api-Key: 1")
        page = (("Origin", "https://page.test"), ("User-Agent", "Browser/1.0"), ("Authorization", "Bearer x"))
        handshake = handshake_request("/chat?room=7", *page)
        calls = self.live(gate, gate.connect(), handshake)
        names = {name.lower() for name, _ in pairs(calls[-1]) if name.lower().startswith(b"ws-")}
        expected = {name.lower() for name in (*COMMON, *CHANGING, *LAST, b"Ws-Groups")} - {b"ws-undelivered"}
        self.assertEqual(names, expected | {b"ws-id", b"ws-signature"})

    def test_few(self) -> None:
        """No address, no origin, no browser; over TLS."""
        gate = self.gate()
        self.live(gate, gate.connect(peer=UNIXAddress(b""), kind=SecureWire), handshake_request("/"))

    def test_odd_values(self) -> None:
        """Bytes beyond ASCII, blanks, colons, empty fields: as they go on the wire, without blanks around them."""
        for agents in (["a  b\tc: d"], ["\xe9 \xff"], ["", "x", ""], ["x "], [""]):
            gate = self.gate()
            handshake = handshake_request("/a:b?c=%0d%0a", *[("User-Agent", agent) for agent in agents])
            for call in self.live(gate, gate.connect(), handshake):
                for name, value in pairs(call):
                    self.assertEqual(value, value.strip(b" \t"), name)

    def test_undelivered(self) -> None:
        """The number is signed, too."""
        gate = self.gate()
        wire = gate.open()
        wire.deliver(frame(TEXT, b"1") + frame(TEXT, b"2"))
        gate.ask("DELETE", f"/{gate.key}")
        gate.agent.last.answer(200, b"")
        gate.turn()
        wire.end()
        gate.turn()
        self.assertEqual((gate.agent.last.method, gate.agent.last.header("Ws-Undelivered")), ("DELETE", "1"))
        self.check(gate.agent.last)

    def test_each_attempt_is_dated(self) -> None:
        """Another second, another signature."""
        gate = self.gate()
        wire = gate.open()
        signatures = set()
        for _ in range(3):
            wire.deliver(frame(TEXT, b"a"))
            self.check(gate.agent.last)
            signatures.add(gate.agent.last.header("Ws-Signature"))
            gate.agent.last.answer(200, b"")
            gate.clock.advance(1)
        self.assertEqual(len(signatures), 3)

    def test_each_retry_is_signed(self) -> None:
        """A PUT and a DELETE that the API does not take at first: the same call at another time."""
        gate = self.gate()
        wire = gate.open()
        for method in ("PUT", "DELETE"):
            wire.deliver(frame(TEXT, b"a") if method == "PUT" else close_frame(1000))
            gate.turn()
            first = gate.agent.last
            first.answer(503)
            gate.clock.advance(30)
            second = gate.agent.last
            self.assertEqual((first.method, second.method), (method, method))
            self.assertIsNot(first, second)
            self.assertEqual(first.header("Ws-Id"), second.header("Ws-Id"))
            self.assertNotEqual(first.header("Ws-Timestamp"), second.header("Ws-Timestamp"))
            self.check(first)
            self.check(second)
            second.answer(200, b"")

    def test_debts_of_an_earlier_process(self) -> None:
        """Their DELETEs are signed like any other."""
        gate = self.gate()
        end = End(Close(1006), ClosedBy.CRASH)
        pending = PendingDisconnect(gate.last_identity, b"/chat", "192.0.2.1", Remembered("a", "7"), end, 3, gate.now())
        gate.disconnects.resume([pending])
        gate.clock.advance(2)
        self.assertEqual((gate.agent.last.method, gate.agent.last.header("Ws-Closed-By")), ("DELETE", "crash"))
        self.check(gate.agent.last)
        gate.agent.last.answer(200, b"")

    def test_connections_are_told_apart(self) -> None:
        """Two at the same time, with the same message."""
        gate = self.gate()
        gate.agent.react = lambda call: call.answer(200, b'{"code": "OK"}')
        wires = [gate.open_as(handshake_request()) for _ in range(2)]
        for wire in wires:
            wire.deliver(frame(TEXT, b"a"))
        for call in gate.agent.calls:
            self.check(call)
        self.assertEqual(len({call.header("Ws-Signature") for call in gate.agent.calls}), 4)

    def test_without_secrets(self) -> None:
        """There is none."""
        gate = Gate()
        gate.begin()
        self.assertIsNone(gate.agent.last.header("Ws-Signature"))

    def test_nothing_can_be_changed(self) -> None:
        """Neither the method nor a header of ours, nor the body: no such call has this signature."""
        gate = self.gate()
        post = self.live(gate, gate.connect(), handshake_request("/", ("Origin", "https://page.test")))[0]
        sent, body = pairs(post), post.body or b""
        expected = post.header("Ws-Signature")
        self.assertNotEqual(sign(KEY, "PUT", sent, body), expected)
        self.assertNotEqual(sign(KEY, "POST", sent, body + b" "), expected)
        self.assertNotEqual(sign(KEY, "POST", [*sent, (b"Ws-State", b"admin")], body), expected)
        for number, (name, value) in enumerate(sent):
            others = [*sent[:number], *sent[number + 1 :]]
            signed = name.lower().startswith(b"ws-") and name.lower() != b"ws-signature"
            for changed in (others, [*others, (name, value + b"x")]):
                self.assertEqual(sign(KEY, "POST", changed, body) != expected, signed, name)

    def test_no_line_can_stand_for_two(self) -> None:
        """A value that looks like further lines is not let through, so the text is read in one way only."""
        gate = self.gate()
        for agent in ("a\nws-state:admin", "a\rws-state:admin", "a\0b"):
            wire = gate.connect()
            wire.deliver(handshake_request("/", ("User-Agent", agent)))
            for call in gate.agent.calls:
                self.assertEqual(signed_text("POST", pairs(call), b"").count(b"ws-state"), 0)
                self.check(call)

    def test_a_push_does_not_tell(self) -> None:
        """``GET ws_uri`` shows neither secrets nor signatures."""
        gate = self.gate(PUSH_TOKEN="pusher")
        gate.open()
        wire = gate.connect()
        wire.deliver(http_request("GET", f"/{gate.key}", None, ("Authorization", "Bearer pusher")))
        answer, _ = read_answer(wire.take())
        self.assertEqual(answer.status, 200)
        for secret in ("pusher", "v1=", *SECRETS.split()):
            self.assertNotIn(secret, str(answer))
