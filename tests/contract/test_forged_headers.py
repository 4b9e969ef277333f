"""What a client may write into a handshake's headers, and that nothing of it passes for the gateway's.

An API looks headers up as its framework names them: in any case, under WSGI, CGI and PHP with ``-`` and ``_`` alike. So
they are compared here.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import NOW, ApiCall, Gate, close_frame, handshake_request, read_answer
from tests.properties import moderately
from tests.signatures import sign
from tests.spellings import SPELLINGS
from tests.unit.callbacks.test_webhook_signature import SECRETS as WEBHOOK_SECRETS
from tests.unit.settings.test_read import SECRETS
from wsaas import __version__

FORWARDED = "Authorization, Sec-WebSocket-Protocol, X-Tenant"
#: Names that are the gateway's, and a few that might be some day.
OURS = (
    "Ws-Uri",
    "Ws-Id",
    "Ws-Path",
    "Ws-Host",
    "Ws-Scheme",
    "Ws-Client",
    "Ws-Origin",
    "Ws-User-Agent",
    "Ws-State",
    "Ws-User",
    "Ws-Groups",
    "Ws-Timestamp",
    "Ws-Signature",
    "Ws-Close-Code",
    "Ws-Undelivered",
    "Ws-Anything",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
)
ODD_VALUES = ("\0", "\r", "\n", "a\rb", "a\nb", "a\0b", "\x0b", "\x1b[2J", "\x7f", "\x85", "\xe9\xff", "\xe2\x80\xa8")


def looked_up(call: ApiCall) -> dict[bytes, list[bytes]]:
    """:returns: the headers of a callback as an API may look them up"""
    found: dict[bytes, list[bytes]] = {}
    for name, values in call.headers.getAllRawHeaders():
        found.setdefault(name.upper().replace(b"-", b"_"), []).extend(values)
    return found


class ForgedHeaderTests(SynchronousTestCase):
    """Protocol §2: none of the gateway's headers can be added, replaced, repeated or removed."""

    settings: ClassVar[dict[str, str]] = {
        "FORWARD_HEADERS": FORWARDED,
        "API_SECRET": SECRETS,
        "API_HEADERS": "X-Api-Key: 1",
    }

    def setUp(self) -> None:
        """Make a gateway that forwards and signs."""
        self.gate = Gate(None, **self.settings)

    def send(self, lines: bytes) -> int:
        """Send a handshake with more header lines.

        :returns: the status of the answer; 0 if there is none, because the API was asked
        """
        before = len(self.gate.agent.calls)
        wire = self.gate.connect()
        request = handshake_request("/chat?room=7")
        wire.deliver(request[:-2] + lines + b"\r\n")
        asked = self.gate.agent.calls[before:]
        for call in asked:
            self.check(call)
        data = wire.take()
        # A line that ends the head early may leave the rest of it waiting.
        status = read_answer(data)[0].status if data else 0
        self.assertTrue(not asked or not status, (lines, status))
        wire.end()
        return status

    def check(self, call: ApiCall) -> None:
        """All that is the gateway's is there as it has to be, and nothing else passes for it."""
        identity = self.gate.last_identity
        found = looked_up(call)
        pairs = [(name, value) for name, values in call.headers.getAllRawHeaders() for value in values]
        expected = {
            b"WS_URI": identity.ws_uri,
            b"WS_ID": f"{identity.tag}-0",
            b"WS_PATH": "/chat?room=7",
            b"WS_HOST": "gateway.test",
            b"WS_SCHEME": "ws",
            b"WS_CLIENT": "192.0.2.1",
            b"WS_TIMESTAMP": str(int(NOW)),
            b"WS_SIGNATURE": sign(SECRETS.encode(), "POST", pairs, call.body or b""),
            b"X_FORWARDED_FOR": "192.0.2.1",
            b"X_FORWARDED_PROTO": "http",
            b"X_API_KEY": "1",
            b"USER_AGENT": f"wsaas/{__version__}",
            b"ACCEPT_ENCODING": "identity",
            b"CONTENT_TYPE": "application/json",
        }
        for name, expected_value in expected.items():
            self.assertEqual(found.pop(name), [expected_value.encode("ascii")], name)
        of_the_client = {b"WS_ORIGIN", b"WS_USER_AGENT", b"AUTHORIZATION", b"SEC_WEBSOCKET_PROTOCOL", b"X_TENANT"}
        self.assertEqual(set(found) - of_the_client, set())
        for name, values in found.items():
            self.assertTrue(len(values) == 1 or name == b"X_TENANT", name)
            for value in values:
                self.assertFalse(set(b"\r\n\0") & set(value), value)

    def test_every_spelling(self) -> None:
        """Cases, dashes and underscores, blanks, folded lines, lone CR and LF, NUL; named in Connection or not."""
        for name in OURS:
            for written in {name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "_", 1)}:
                for spelling in SPELLINGS:
                    self.send(f"{spelling.format(written, written)}: admin\r\n".encode("latin-1"))
        self.assertIn("POST", self.gate.agent.methods)

    def test_names_in_connection(self) -> None:
        """They are of one hop (RFC 9110 §7.6.1); that hop takes away nothing of ours, and the next is not told to."""
        for name in (*OURS, "Authorization", "X-Api-Key", "close", "Host"):
            if self.send(f"Connection: {name}\r\nConnection: keep-alive, {name}\r\n".encode("ascii")) == 0:
                self.assertNotIn(b"CONNECTION", looked_up(self.gate.agent.last))

    def test_values(self) -> None:
        """What no header may hold is refused or goes no further; bytes beyond ASCII stay in their line."""
        for name in ("User-Agent", "Authorization", "X-Tenant", "Sec-WebSocket-Protocol", "Origin", "X-Other"):
            for value in ODD_VALUES:
                forged = f"a{value}Ws-State: admin"
                for text in (value, f"a{value}", f"{value}a", forged, f"a{value}\r\n Ws-State: admin"):
                    self.send(f"{name}: {text}\r\n".encode("latin-1"))
        self.assertIn("POST", self.gate.agent.methods)

    def test_repeated(self) -> None:
        """Those of which the API takes the first or the last are refused."""
        for name in ("Host", "Origin", "Authorization", "Sec-WebSocket-Key"):
            self.assertEqual(self.send(f"{name}: a\r\n{name.lower()}: b\r\n".encode("ascii")), 400, name)
        self.assertEqual(self.gate.agent.calls, [])
        self.assertEqual(self.send(b"X-Tenant: a\r\nx-tenant: b\r\nX_Tenant: c\r\n"), 0)
        self.assertEqual(looked_up(self.gate.agent.last)[b"X_TENANT"], [b"a", b"b"])
        self.assertEqual(self.send(b"User-Agent: a\r\nuser-agent: b\r\nUser_Agent: c\r\n"), 0)
        self.assertEqual(looked_up(self.gate.agent.last)[b"WS_USER_AGENT"], [b"a, b"])

    def test_over_long(self) -> None:
        """Forwarded ones over 6 KiB, a User-Agent over 2: 431; a line over 16 KiB: no handshake; below: as it is."""
        for name in ("Authorization", "X-Tenant"):
            self.assertEqual(self.send(f"{name}: {'x' * 6200}\r\n".encode("ascii")), 431)
        self.assertEqual(self.send(b"X-Tenant: %b\r\n" % (b"x" * 3000) * 3), 431)
        self.assertNotEqual(self.send(b"User-Agent: %b\r\n" % (b"x" * 20_000)), 0)
        self.assertEqual(self.send(b"User-Agent: %b\r\n" % (b"x" * 2048)), 431)
        self.assertEqual(self.gate.agent.calls, [])
        self.assertEqual(self.send(b"User-Agent: %b\r\n" % (b"x" * 2000)), 0)
        self.assertEqual(self.send(b"X-Tenant: %b\r\n" % (b"x" * 6000)), 0)

    def test_as_long_as_may_be(self) -> None:
        """The DELETE of a client that goes to all bounds stays below what the protocol's page tells an API to take.

        WS_MAX_TARGET, WS_MAX_HEADERS and 7 KiB; and a thousand bytes are left for the request line and ``Host``. The
        API sets a state, a user and groups, as long as they may be, and gets signatures of both kinds.
        """
        for max_target, max_headers in ((2048, 6144), (256, 1024), (16_384, 32_768)):
            signed = {"API_SECRET": WEBHOOK_SECRETS, "API_WEBHOOK_SIGNATURE": "on", "TRACE": "on"}
            bounds = {"WS_MAX_TARGET": str(max_target), "WS_MAX_HEADERS": str(max_headers)}
            gate = Gate(None, **{**self.settings, **signed, **bounds})
            more = [("X-Tenant", f"{number:0{max_headers // 32 - 8}}") for number in range(32)]
            target = "/" + "x" * (max_target - 1)
            # 64 names of 14 characters: with what is between them, 1,022 bytes.
            groups = ", ".join([f"{number:014}" for number in range(100)])
            answer = (("Ws-State", "s" * 1024), ("Ws-User", quote("\U0001f600" * 64)), ("Ws-Join", groups))
            wire = gate.open(target, *more, ("User-Agent", "u" * 2000), answer=answer)
            wire.deliver(close_frame(4999, "\u20ac" * 41))
            gate.turn()
            call = gate.agent.last
            self.assertEqual((call.method, len(call.all("X-Tenant"))), ("DELETE", 32))
            self.assertEqual(len(call.header("Ws-User") or ""), 768)
            self.assertEqual((len(call.header("Ws-Groups") or ""), call.header("Ws-Groups-Left-Out")), (1022, "36"))
            lines = [name + b": " + value for name, values in call.headers.getAllRawHeaders() for value in values]
            self.assertEqual(len(call.all("traceparent")), 1)
            size = sum(len(line) + 2 for line in lines)
            self.assertGreater(size, max_target + max_headers + 5632)
            self.assertLess(size, max_target + max_headers + 7168 - 1000)
            self.assertLess(len(lines), 60)
            call.answer()

    def tearDown(self) -> None:
        """Let no call wait for its answer."""
        for call in self.gate.agent.calls:
            if not call.result.called:
                call.answer(403)


class ProxyHeaderTests(ForgedHeaderTests):
    """The same with a header that a trusted proxy sets."""

    settings: ClassVar[dict[str, str]] = {
        **ForgedHeaderTests.settings,
        "FORWARD_HEADERS": f"{FORWARDED}, X-Forwarded-User",
        "TRUST_PROXY": "1",
    }

    def check(self, call: ApiCall) -> None:
        """That header goes on as it came; client and scheme are those that the proxy names."""
        found = looked_up(call)
        self.assertLessEqual(len(found.get(b"X_FORWARDED_USER", [])), 1)
        pairs = [(name, value) for name, values in call.headers.getAllRawHeaders() for value in values]
        signature = sign(SECRETS.encode(), "POST", pairs, call.body or b"").encode("ascii")
        self.assertEqual(found[b"WS_SIGNATURE"], [signature])
        for name in (b"WS_URI", b"WS_ID", b"WS_CLIENT", b"WS_SCHEME", b"X_FORWARDED_FOR", b"X_FORWARDED_PROTO"):
            self.assertEqual(len(found[name]), 1, name)
        self.assertEqual(found[b"WS_URI"], [self.gate.last_identity.ws_uri.encode("ascii")])
        self.assertEqual(found[b"X_API_KEY"], [b"1"])

    def test_of_a_proxy(self) -> None:
        """It reaches the API under its own name, in any case; never from a name with underscores."""
        self.assertEqual(self.send(b"x-forwarded-user: ada\r\nX_Forwarded_User: eve\r\nX-Forwarded_User: eve\r\n"), 0)
        self.assertEqual(self.gate.agent.last.all("X-Forwarded-User"), ["ada"])
        self.assertEqual(looked_up(self.gate.agent.last)[b"X_FORWARDED_USER"], [b"ada"])

    def test_of_a_proxy_and_the_client(self) -> None:
        """Which is whose cannot be told."""
        self.assertEqual(self.send(b"X-Forwarded-User: eve\r\nX-Forwarded-User: ada\r\n"), 400)
        self.assertEqual(self.gate.agent.calls, [])


class AnyForgedHeaderTests(SynchronousTestCase):
    """Whatever stands there."""

    @moderately
    @given(
        st.lists(
            st.sampled_from([name.encode("ascii") for name in (*OURS, "User-Agent", "X-Tenant", "X_Tenant", "Origin")])
            | st.sampled_from([b": ", b":", b"\r\n", b"\r", b"\n", b" ", b"\t", b"\0", b"admin", b"\xff", b"-", b"_"])
            | st.binary(max_size=3),
            max_size=12,
        ).map(b"".join)
    )
    def test_any(self, lines: bytes) -> None:
        """Nothing passes for the gateway's."""
        tests = ForgedHeaderTests()
        tests.setUp()
        tests.send(lines + b"\r\n")
        tests.tearDown()
