"""What a client asks for, checked before anybody is asked (protocol §4, RFC 6455 §4.2.1)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.messages import Handshake
from wsaas.errors import HandshakeRefused
from wsaas.net.http1.messages import RequestFields, RequestHead
from wsaas.websocket.handshake import MAX_LINES, MAX_NAMED, check_handshake, is_handshake
from wsaas.websocket.origins import parse_origins
from wsaas.websocket.settings import HandshakeSettings

#: RFC 6455 §1.3's example.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

USUAL = (
    ("Host", "gateway.example"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)

SETTINGS = HandshakeSettings(parse_origins("*"), ("Authorization", "Sec-WebSocket-Protocol"), False)


def head(*more: tuple[str, str | bytes], without: str = "", target: bytes = b"/") -> RequestHead:
    """:returns: the head of a good handshake, with further headers and without one of the usual ones"""
    lines = (*(field for field in USUAL if field[0] != without), *more)
    fields = RequestFields(
        (name.encode(), (value if isinstance(value, bytes) else value.encode()).strip()) for name, value in lines
    )
    return RequestHead(b"GET", target, b"HTTP/1.1", fields, False, "192.0.2.1")


def with_length(given: RequestHead, length: int | None) -> RequestHead:
    """:returns: the same head, which announces a body"""
    given.fields.length = length
    return given


class IsHandshakeTests(SynchronousTestCase):
    """What asks for a WebSocket, well or badly."""

    def test_a_get_with_upgrade_websocket(self) -> None:
        """In any case, among other protocols, with nothing else right."""
        self.assertTrue(is_handshake(head()))
        for value in ("WebSocket", "h2c, websocket", ", websocket ,"):
            self.assertTrue(is_handshake(replace(head(), fields=RequestFields([(b"upgrade", value.encode())]))), value)

    def test_others_are_not(self) -> None:
        """Another method, another protocol, none."""
        for method in (b"POST", b"HEAD", b"PUT", b"get"):
            self.assertFalse(is_handshake(replace(head(), method=method)))
        for value in ("h2c", "websockets", "web socket", ""):
            self.assertFalse(is_handshake(replace(head(), fields=RequestFields([(b"upgrade", value.encode())]))), value)
        self.assertFalse(is_handshake(head(without="Upgrade")))


class CheckTests(SynchronousTestCase):
    """Good handshakes and all the ways to be a bad one."""

    def refused(self, given_head: RequestHead, settings: HandshakeSettings = SETTINGS) -> HandshakeRefused:
        """:returns: the refusal, which has to come"""
        refusal: HandshakeRefused = self.assertRaises(HandshakeRefused, check_handshake, given_head, settings)
        return refusal

    def test_a_plain_one(self) -> None:
        """Everything optional is absent."""
        self.assertEqual(
            check_handshake(head(target=b"/chat?room=7"), SETTINGS),
            Handshake(
                target=b"/chat?room=7",
                host=b"gateway.example",
                secure=False,
                client="192.0.2.1",
                origin=None,
                user_agent=None,
                forwarded=(),
                key=KEY,
                protocols=(),
                extensions="",
            ),
        )

    def test_a_full_one(self) -> None:
        """Everything is there, byte for byte."""
        full = head(
            ("Origin", "https://a.example"),
            ("User-Agent", b"agent \xe9"),
            ("Authorization", "Bearer x"),
            ("Sec-WebSocket-Protocol", "chat.v2, chat.v1"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        )
        handshake = check_handshake(
            replace(full, secure=True, client=None),
            replace(SETTINGS, compression=True, origins=parse_origins("same https://a.example")),
        )
        self.assertEqual(
            (handshake.secure, handshake.client, handshake.origin, handshake.user_agent),
            (True, None, b"https://a.example", b"agent \xe9"),
        )
        self.assertEqual(handshake.protocols, ("chat.v2", "chat.v1"))
        self.assertEqual(handshake.extensions, "permessage-deflate")
        self.assertEqual(
            handshake.forwarded,
            ((b"Authorization", b"Bearer x"), (b"Sec-WebSocket-Protocol", b"chat.v2, chat.v1")),
        )

    def test_without_compression_no_extension_is_looked_at(self) -> None:
        """So that none is negotiated."""
        handshake = check_handshake(head(("Sec-WebSocket-Extensions", "permessage-deflate")), SETTINGS)
        self.assertEqual(handshake.extensions, "")

    def test_the_target(self) -> None:
        """At most 2048 bytes (414), visible ASCII, a path (400)."""
        longest = b"/" + b"a" * 2047
        self.assertEqual(check_handshake(head(target=longest), SETTINGS).target, longest)
        refusal = self.refused(head(target=longest + b"a"))
        self.assertEqual((refusal.status, refusal.reason), (414, "the target is over 2048 bytes (WS_MAX_TARGET)"))
        for target in (b"", b"*", b"chat", b"http://gateway.example/", b"/\xe9", b"/\x7f", b"/a b", b"/\x00"):
            self.assertEqual(self.refused(head(target=target)).status, 400, target)

    def test_the_version_of_http(self) -> None:
        """1.1, of which Upgrade is a part."""
        self.assertEqual(self.refused(replace(head(), version=b"HTTP/1.0")).status, 400)

    def test_no_body(self) -> None:
        """What follows the head are frames."""
        self.assertEqual(self.refused(with_length(head(), 1)).status, 400)
        self.assertEqual(self.refused(with_length(head(), None)).status, 400)

    def test_what_has_to_be_there(self) -> None:
        """Host, Connection: Upgrade, a key, a version."""
        for name in ("Host", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
            self.assertEqual(self.refused(head(without=name)).status, 400, name)

    def test_what_must_not_be_repeated(self) -> None:
        """Two readers could take two different ones; the reason names the header."""
        for name, value in (
            ("Host", "gateway.example"),
            ("Origin", "https://a.example"),
            ("Authorization", "Bearer x"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ):
            given_head = head((name, value), without=name)
            check_handshake(given_head, SETTINGS)
            refusal = self.refused(head((name, value), (name, value), without=name))
            self.assertEqual(refusal.status, 400)
            self.assertIn(name, refusal.reason)

    def test_a_repeated_authorization_is_refused_even_if_nobody_forwards_it(self) -> None:
        """The contract makes no difference."""
        twice = head(("Authorization", "a"), ("Authorization", "b"))
        self.assertEqual(self.refused(twice, replace(SETTINGS, forward_headers=())).status, 400)

    def test_the_connection_header_is_a_list(self) -> None:
        """Firefox sends keep-alive too."""
        check_handshake(head(("Connection", "keep-alive, UPGRADE"), without="Connection"), SETTINGS)
        for value in ("keep-alive", "upgraded", ""):
            self.assertEqual(self.refused(head(("Connection", value), without="Connection")).status, 400, value)

    def test_another_version_of_websocket(self) -> None:
        """426, saying which one is spoken (RFC 6455 §4.2.2)."""
        for version in ("8", "12", "14", "13, 8", "013", ""):
            refusal = self.refused(head(("Sec-WebSocket-Version", version), without="Sec-WebSocket-Version"))
            self.assertEqual(refusal.status, 426, version)
            self.assertEqual(refusal.headers, ((b"Sec-WebSocket-Version", b"13"),))

    def test_the_key_is_16_bytes_of_base64(self) -> None:
        """RFC 6455 §4.1, item 7."""
        for key in (
            "",
            "a",
            KEY[:-2],
            KEY + "=",
            KEY[:-1],
            b64encode(b"a" * 15).decode(),
            b64encode(b"a" * 17).decode(),
            "*" + KEY[1:],
            b"\xe9" * 24,
        ):
            refusal = self.refused(head(("Sec-WebSocket-Key", key), without="Sec-WebSocket-Key"))
            self.assertEqual(refusal.status, 400, key)
            self.assertIn("Sec-WebSocket-Key", refusal.reason)

    def test_subprotocols_are_tokens_each_once(self) -> None:
        """In order of preference, from one line or several."""
        several = head(("Sec-WebSocket-Protocol", "b ,a"), ("Sec-WebSocket-Protocol", "c"))
        self.assertEqual(check_handshake(several, SETTINGS).protocols, ("b", "a", "c"))
        for value in ("a, a", "a b", "a;b", b"\xe9", '"a"', "a/b"):
            self.assertEqual(self.refused(head(("Sec-WebSocket-Protocol", value))).status, 400, value)

    def test_empty_elements_of_lists(self) -> None:
        """They count for nothing (RFC 9110 §5.6.1.2), as embedded clients send them; what else is wrong, is wrong."""
        name = "Sec-WebSocket-Protocol"
        for values, protocols in (
            (("chat,",), ("chat",)),
            ((",chat",), ("chat",)),
            (("a,, b, ,\tc",), ("a", "b", "c")),
            (("",), ()),
            ((", ,",), ()),
            (("", "chat"), ("chat",)),
        ):
            handshake = check_handshake(head(*((name, value) for value in values)), SETTINGS)
            self.assertEqual(handshake.protocols, protocols)
        for value in ("a,, a", "a b,", ",\xe9"):
            self.assertEqual(self.refused(head((name, value))).status, 400, value)
        check_handshake(head(("Connection", ", keep-alive,,Upgrade,"), without="Connection"), SETTINGS)

    def test_the_host_is_visible_ascii(self) -> None:
        """It goes into a header of every callback."""
        for host in ("", b"\xe9", "a b", "a\x00"):
            self.assertEqual(self.refused(head(("Host", host), without="Host")).status, 400, host)

    def test_an_origin_that_is_not_listed(self) -> None:
        """403, naming the setting."""
        listed = replace(SETTINGS, origins=parse_origins("same https://a.example"))
        check_handshake(head(("Origin", "https://gateway.example")), listed)
        check_handshake(head(), listed)
        for origin in ("https://evil.example", "null", "nonsense"):
            refusal = self.refused(head(("Origin", origin)), listed)
            self.assertEqual(refusal.status, 403)
            self.assertIn("WS_ORIGINS", refusal.reason)

    def test_each_refusal_has_its_kind(self) -> None:
        """For the metrics; it does not hang on the status."""
        listed = replace(SETTINGS, origins=parse_origins("same"))
        for kind, given_head, settings in (
            ("origin", head(("Origin", "https://evil.example")), listed),
            ("malformed", head(without="Sec-WebSocket-Key"), SETTINGS),
            ("version", head(("Sec-WebSocket-Version", "8"), without="Sec-WebSocket-Version"), SETTINGS),
            ("too_long", head(target=b"/" + b"a" * 2048), SETTINGS),
            ("too_long", head(("Authorization", "a" * 6144)), SETTINGS),
            ("too_long", head(*[("Sec-WebSocket-Protocol", "")] * 33), SETTINGS),
            ("too_long", head(("User-Agent", "a" * 2048)), SETTINGS),
        ):
            self.assertEqual(self.refused(given_head, settings).kind, kind)

    def test_an_origin_in_no_ascii(self) -> None:
        """Not even if everyone may connect: it goes into a header of every callback."""
        for origin in (b"https://\xe9.example", "a b", ""):
            self.assertEqual(self.refused(head(("Origin", origin))).status, 400, origin)

    def test_forwarded_headers(self) -> None:
        """Those of the list, in its order; repeated ones stay repeated; others are not seen."""
        settings = replace(SETTINGS, forward_headers=("X-B", "Cookie", "X-None"))
        given_head = head(("Cookie", "a=1"), ("x-b", "2"), ("Cookie", "b=3"), ("Authorization", "secret"))
        self.assertEqual(
            check_handshake(given_head, settings).forwarded,
            ((b"X-B", b"2"), (b"Cookie", b"a=1"), (b"Cookie", b"b=3")),
        )

    def test_too_many_bytes_of_them(self) -> None:
        """431 over 6 KiB, names and all lines together."""
        name = "Authorization"
        fits = 6 * 1024 - len(name)
        check_handshake(head((name, "a" * fits), ("Cookie", "a" * 9000)), SETTINGS)
        refusal = self.refused(head((name, "a" * (fits + 1))))
        self.assertEqual(refusal.status, 431)
        self.assertEqual(refusal.reason, "the forwarded headers are over 6144 bytes (WS_MAX_HEADERS)")
        lines = [("X-A", "a" * 1000)] * 7
        self.assertEqual(self.refused(head(*lines), replace(SETTINGS, forward_headers=("X-A",))).status, 431)

    def test_other_bounds(self) -> None:
        """Shorter and longer ones, each by itself; the head has room for both and for 8 KiB of others."""
        name = "Authorization"
        for max_target, max_headers in ((256, 1024), (8192, 6144), (2048, 16_384), (16_384, 32_768)):
            settings = replace(SETTINGS, max_target=max_target, max_headers=max_headers)
            self.assertEqual(settings.max_head, max_target + max_headers + 8192)
            target, value = b"/" + b"a" * (max_target - 1), "a" * (max_headers - len(name))
            handshake = check_handshake(head((name, value), target=target), settings)
            self.assertEqual((handshake.target, handshake.forwarded), (target, ((name.encode(), value.encode()),)))
            refusal = self.refused(head(target=target + b"a"), settings)
            self.assertEqual((refusal.status, str(max_target) in refusal.reason), (414, True))
            refusal = self.refused(head((name, value + "a")), settings)
            self.assertEqual((refusal.status, str(max_headers) in refusal.reason), (431, True))
        self.assertEqual(SETTINGS.max_head, 16_384)

    def test_too_many_lines_of_them(self) -> None:
        """431 over 32, of all names together."""
        settings = replace(SETTINGS, forward_headers=("X-A", "X-B"))
        fits = [("X-A", "a"), ("X-B", "")] * (MAX_LINES // 2)
        self.assertEqual(len(check_handshake(head(*fits), settings).forwarded), 32)
        self.assertEqual(self.refused(head(*fits, ("X-B", "b")), settings).status, 431)
        check_handshake(head(*fits, ("X-C", "c")), settings)

    def test_too_many_bytes_of_those_with_other_names(self) -> None:
        """431 over 2 KiB, Host, Origin and all lines of User-Agent together."""
        self.assertEqual(MAX_NAMED, 2048)
        host = len(head().all(b"Host")[0])
        fits = MAX_NAMED - host
        check_handshake(head(("User-Agent", "a" * fits)), SETTINGS)
        check_handshake(head(("Origin", "a" * (fits - 6)), ("User-Agent", "a"), ("User-Agent", "b")), SETTINGS)
        for lines in (
            [("User-Agent", "a" * (fits + 1))],
            [("Origin", "a" * (fits - 1)), ("User-Agent", "a"), ("User-Agent", "b")],
            [("Origin", "a" * (fits + 1))],
        ):
            self.assertEqual(self.refused(head(*lines)).status, 431)

    def test_several_user_agents_become_one(self) -> None:
        """It is for logs and statistics; nothing is refused for it."""
        self.assertEqual(check_handshake(head(("User-Agent", "a"), ("User-Agent", "b")), SETTINGS).user_agent, b"a, b")
        # No blanks at its ends: servers differ in whether they are a part of the value.
        self.assertEqual(check_handshake(head(("User-Agent", "a"), ("User-Agent", "")), SETTINGS).user_agent, b"a")

    _NAMES = st.sampled_from(
        [*(name for name, _ in USUAL), "Origin", "Authorization", "Sec-WebSocket-Protocol", "User-Agent", "Cookie"]
    )
    _VALUES = st.binary(max_size=40) | st.sampled_from([value.encode() for _, value in USUAL])

    @moderately
    @given(
        st.binary(max_size=60).map(lambda rest: b"/" + rest) | st.binary(max_size=60),
        st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
        st.none() | _NAMES,
        st.sampled_from(["*", "same", "https://a.example"]),
        st.sampled_from([0, 0, 0, 1, None]),
    )
    def test_any_head_is_accepted_or_refused(
        self, target: bytes, more: list[tuple[str, bytes]], without: str | None, origins: str, length: int | None
    ) -> None:
        """With a status of the contract; and what is accepted can stand in the headers of callbacks."""
        settings = replace(SETTINGS, origins=parse_origins(origins))
        given_head = with_length(head(*more, without=without or "", target=target), length)
        try:
            handshake = check_handshake(given_head, settings)
        except HandshakeRefused as refusal:
            self.assertIn(refusal.status, (400, 403, 414, 426, 431))
            self.assertTrue(refusal.reason)
            return
        self.assertEqual(length, 0)
        self.assertRegex(handshake.target, rb"\A/[!-~]*\Z")
        self.assertRegex(handshake.host, rb"\A[!-~]+\Z")
        if handshake.origin is not None:
            self.assertRegex(handshake.origin, rb"\A[!-~]+\Z")
        self.assertEqual(len(set(handshake.protocols)), len(handshake.protocols))
        self.assertLessEqual(sum(len(name) + len(value) for name, value in handshake.forwarded), 6144)
