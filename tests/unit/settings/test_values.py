"""How the values of settings are written (protocol §5)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import _parse
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI

from tests.descriptions import escaped
from tests.properties import moderately
from wsaas.settings.values import (
    choice,
    duration,
    endpoints,
    field_lines,
    field_names,
    file_text,
    folder,
    health_path,
    hostname,
    is_reserved,
    may_mean_seconds,
    media_type,
    number,
    parse_api_uri,
    without_secrets,
    words,
)

#: Protocol §2: names that FORWARD_HEADERS may not contain.
RESERVED = (
    "Ws-Uri",
    "Ws-Anything",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X_Forwarded_User",
    "Content-Type",
    "Content-Length",
    "Host",
    "Expect",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)


class ReservedTests(SynchronousTestCase):
    """Headers that are the gateway's own."""

    def test_what_the_contract_names_is_reserved_in_any_spelling(self) -> None:
        """With ``-`` or ``_``, in any case: CGI cannot tell them apart."""
        for name in RESERVED:
            for spelling in (name, name.lower(), name.upper(), name.replace("-", "_"), name.lower().replace("-", "_")):
                self.assertTrue(is_reserved(spelling), spelling)

    def test_others_are_not(self) -> None:
        """A name that only resembles a reserved one is an ordinary header."""
        for name in (
            "Authorization",
            "Cookie",
            "Sec-WebSocket-Protocol",
            "X-Request-Id",
            "News-Id",
            "Wsx",
            "X-Forward",
        ):
            self.assertFalse(is_reserved(name), name)


class NumberTests(SynchronousTestCase):
    """Whole numbers and milliseconds."""

    def test_both_bounds_are_allowed(self) -> None:
        """And nothing beyond."""
        parse = number(2, 40)
        self.assertEqual([parse("2"), parse("40"), parse("007")], [2, 40, 7])
        self.assertRaises(ValueError, parse, "1")
        self.assertRaises(ValueError, parse, "41")

    def test_only_ascii_digits(self) -> None:
        """int() would take more, and a very long number would take very long."""
        parse = number(0, 10**11)
        for text in ("", "-1", "+1", "1.5", "1e3", "0x10", "1_000", " 1", "1 ", "1\n", "٣", "²", "30s", "9" * 5000):
            self.assertRaises(ValueError, parse, text)

    def test_milliseconds_become_seconds(self) -> None:
        """All times inside are in seconds."""
        self.assertEqual(duration(0, 60_000)("1500"), 1.5)
        self.assertEqual(duration(0, 60_000)("0"), 0)
        self.assertRaises(ValueError, duration(1, 60_000), "0")
        self.assertRaises(ValueError, duration(1, 60_000), "60001")

    def test_durations_have_units(self) -> None:
        """What is meant is said; the bounds hold in every unit."""
        parse = duration(1, 7 * 86_400_000)
        for text, seconds in (("1ms", 0.001), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("007s", 7)):
            self.assertEqual(parse(text), seconds)
        for text in (
            "0s",
            "8d",
            "604801s",
            "30 s",
            "30S",
            "30sec",
            "s",
            "1.5s",
            "-1s",
            "+1s",
            "1h30m",
            "٣s",
            "9" * 99 + "s",
        ):
            self.assertRaises(ValueError, parse, text)

    def test_seconds_without_their_unit(self) -> None:
        """Nearly nobody means 30 ms by 30."""
        self.assertEqual([text for text in ("1", "30", "999") if not may_mean_seconds(text)], [])
        self.assertEqual([text for text in ("0", "000", "1000", "30s", "30ms", "", "x") if may_mean_seconds(text)], [])

    @moderately
    @given(st.integers(-10, 10**13), st.integers(0, 10**6), st.integers(0, 10**6))
    def test_a_number_is_taken_if_it_is_within_the_bounds(self, value: int, low: int, more: int) -> None:
        """For any bounds."""
        try:
            parsed: int | None = number(low, low + more)(str(value))
        except ValueError:
            parsed = None
        self.assertEqual(parsed, value if low <= value <= low + more else None)


class ChoiceTests(SynchronousTestCase):
    """One of some words."""

    def test_case_does_not_matter(self) -> None:
        """The result is spelled as the table has it."""
        parse = choice("off", "INFO")
        self.assertEqual([parse("OFF"), parse("off"), parse("info")], ["off", "off", "INFO"])

    def test_no_other_word(self) -> None:
        """Nor a part of one, nor none."""
        for text in ("", "of", "offf", "off ", "true", "1"):
            self.assertRaises(ValueError, choice("off", "on"), text)


class ApiUriTests(SynchronousTestCase):
    """Where callbacks go (protocol §1)."""

    def test_without_a_scheme_it_is_http(self) -> None:
        """``localhost:80/websocket`` means ``http://localhost:80/websocket``."""
        api = parse_api_uri("localhost:80/websocket")
        self.assertEqual((api.uri, api.host), ("http://localhost:80/websocket", "localhost"))

    def test_a_scheme_in_capitals(self) -> None:
        """Means the same (RFC 3986 §3.1), and is sent in small letters."""
        self.assertEqual(parse_api_uri("HTTPS://api.example:8443").uri, "https://api.example:8443/")

    def test_a_query_is_kept(self) -> None:
        """Byte for byte, as is the path."""
        self.assertEqual(parse_api_uri("h/a%2Fb/../c;d?x=1&y=%20").uri, "http://h/a%2Fb/../c;d?x=1&y=%20")

    def test_a_query_may_hold_an_uri(self) -> None:
        """What looks like a scheme behind the host is none."""
        api = parse_api_uri("localhost:80/ws?next=http://other.example/")
        self.assertEqual(api.uri, "http://localhost:80/ws?next=http://other.example/")
        self.assertEqual(api.host, "localhost")

    def test_without_a_path_it_is_the_root(self) -> None:
        """A request needs a target."""
        self.assertEqual(parse_api_uri("api.example").uri, "http://api.example/")
        self.assertEqual(parse_api_uri("api.example?x").uri, "http://api.example/?x")

    def test_an_ipv6_literal_loses_its_brackets_in_the_host(self) -> None:
        """They belong to the URI, not to the address."""
        api = parse_api_uri("[::1]:8000/ws")
        self.assertEqual((api.uri, api.host), ("http://[::1]:8000/ws", "::1"))

    def test_what_no_request_can_be_sent_to(self) -> None:
        """Each of these would fail at the first callback, or lead elsewhere than it seems."""
        for text in (
            "",
            "/ws",
            "http://",
            "http:///ws",
            "ftp://api.example/",
            "ws://api.example/",
            "http://user:secret@api.example/",
            "user@api.example",
            "http://api.example/#part",
            "api.example:0/",
            "api.example:65536/",
            "api.example:port/",
            "api.example:/ws",
            "api example/",
            "api.example/\n",
            "api.example/é",
            "http://[::1/",
            "http://::1]/",
            "://api.example",
            "?x=://y",
        ):
            self.assertRaises(ValueError, parse_api_uri, text)

    def test_a_unix_socket(self) -> None:
        """The socket's path ends at the colon; a query stands behind the path, and may hold anything."""
        for text, uri in (
            ("unix:/run/api.sock:/websocket", "unix:/run/api.sock:/websocket"),
            ("unix:/run/api.sock", "unix:/run/api.sock:/"),
            ("UNIX:/run/api.sock:/a:b?c=d:e?@", "unix:/run/api.sock:/a:b?c=d:e?@"),
        ):
            api = parse_api_uri(text)
            self.assertEqual((api.uri, api.socket, api.host), (uri, "/run/api.sock", "localhost"))
        self.assertNotIn("secret", repr(parse_api_uri("unix:/run/api.sock:/?secret")))

    def test_no_unix_socket(self) -> None:
        """The error says what is wrong, and how it is written."""
        for text, said in (
            ("unix:", "does not begin with /: it is written unix:/run/api.sock:/path"),
            ("unix:run/api.sock:/ws", "does not begin with /"),
            ("unix:///run/api.sock", "two slashes behind unix:"),
            ("unix:/run/api.sock:", "does not begin with /"),
            ("unix:/run/api.sock:ws", "behind the socket's path does not begin with /"),
            ("unix:/run/api.sock?a=b", "unix:/run/api.sock:/?…"),
            ("unix:/run/:/ws", "that of a folder"),
            (f"unix:/{'x' * 107}:/ws", "has 108 characters, and no system takes more than 107"),
            ("unix:/run/my api.sock:/", "a blank"),
            ("unix:/run/api.sock:/#part", "a fragment"),
            ("http://unix:/run/api.sock:/ws", "unix:/run/api.sock:/path"),
        ):
            with self.assertRaises(ValueError, msg=text) as caught:
                parse_api_uri(text)
            self.assertIn(said, str(caught.exception))

    def test_a_unix_socket_is_shown_without_its_query(self) -> None:
        """An ``@`` is a part of its path."""
        self.assertEqual(without_secrets("unix:/run/api@1.sock:/ws?secret"), "unix:/run/api@1.sock:/ws?…")
        self.assertEqual(without_secrets("unix://me:secret@host/"), "…@host/")

    @moderately
    @given(
        st.from_regex(r"(https?://)?[!-~]{1,40}", fullmatch=True) | st.text(max_size=40),
    )
    def test_what_is_accepted_leads_to_that_host_and_port(self, text: str) -> None:
        """Twisted's Agent reads host and port from the URI by rules of its own; both must agree."""
        try:
            api = parse_api_uri(text)
        except ValueError:
            return
        if api.socket is not None:
            return
        there = URI.fromBytes(api.uri.encode("ascii"))
        self.assertEqual(there.host.decode().lower(), api.host.lower())
        parts = urlsplit(api.uri)
        self.assertEqual(there.port, parts.port or (443 if parts.scheme == "https" else 80))
        self.assertEqual(there.scheme, parts.scheme.encode())
        self.assertTrue(there.path.startswith(b"/"))


class HostnameTests(SynchronousTestCase):
    """``WS_HOSTNAME`` (protocol §1)."""

    def test_it_stands_byte_for_byte(self) -> None:
        """With or without scheme, port and path, in the case it was written in."""
        for text in (
            "localhost:8080",
            "http://localhost:8080",
            "HTTPS://Push.Example/Gateway%20",
            "[::1]:8080",
            "a/b",
            "a//b",
        ):
            self.assertEqual(hostname(text), text)

    def test_a_trailing_slash_aside(self) -> None:
        """The key is put behind it with a slash of its own."""
        self.assertEqual(hostname("http://h/x/"), "http://h/x")
        self.assertEqual(hostname("h/"), "h")

    def test_what_a_key_cannot_stand_behind(self) -> None:
        """Or cannot be the start of an http URI, or would break the JSON or header it stands in."""
        for text in (
            "",
            "/",
            "/path",
            "http://",
            "http:///",
            "https:///path",
            "ftp://h",
            "ws://h",
            "://h",
            "h?x",
            "h#x",
            "a b",
            "h\n",
            "hé",
            'h"',
            "h\\",
            "http://[::1",
            "[::1/x",
        ):
            self.assertRaises(ValueError, hostname, text)

    @moderately
    @given(st.from_regex(r"(https?://)?[!-~]{1,30}", fullmatch=True) | st.text(max_size=30))
    def test_what_is_accepted_is_visible_ascii(self, text: str) -> None:
        """So it can stand in a header; ValueError is all that can come besides."""
        try:
            bare = hostname(text)
        except ValueError:
            return
        self.assertTrue(all("!" <= character <= "~" for character in bare))
        self.assertIn(text, (bare, f"{bare}/"))


class FolderTests(SynchronousTestCase):
    """Paths of folders."""

    def test_any_name(self) -> None:
        """Folders have names in all languages, and blanks."""
        for path in ("/var/lib/wsaas", "/home/jürgen/my state", "/状态"):
            self.assertEqual(folder(path), Path(path))

    def test_refused(self) -> None:
        """It says where, whatever the process's own folder is; and nothing that garbles a log."""
        for path in ("state", "./state", "~/state", "", "/a\nb", "/a\x1b[0m", "/a\0b", "/\udcff"):
            self.assertRaises(ValueError, folder, path)


class EndpointsTests(SynchronousTestCase):
    """Endpoint descriptions, as far as their text tells."""

    def test_several_separated_by_blanks(self) -> None:
        """Lines too."""
        self.assertEqual(
            endpoints(" tcp:1  tls:/etc/tls:443\nunix:/run/x "), ("tcp:1", "tls:/etc/tls:443", "unix:/run/x")
        )

    def test_blanks_in_paths(self) -> None:
        """With a backslash before them, they do not separate; nor does a backslash that has one itself."""
        self.assertEqual(endpoints(r"tls:/my\ tls:443 tcp:1"), (r"tls:/my\ tls:443", "tcp:1"))
        self.assertEqual(endpoints("unix:/x\\\\ tcp:1"), ("unix:/x\\\\", "tcp:1"))
        self.assertEqual(endpoints("unix:/x\\"), ("unix:/x\\",))

    @moderately
    @given(st.lists(st.text(min_size=1), min_size=1), st.sampled_from((" ", "\n", "\t ", "\u2003")))
    def test_any_paths(self, paths: list[str], between: str) -> None:
        """What was escaped comes back in one piece, and Twisted reads what was meant."""
        texts = [f"unix:{escaped(path)}" for path in paths]
        found = endpoints(between.join(texts))
        self.assertEqual(found, tuple(texts))
        for path, description in zip(paths, found, strict=True):
            self.assertEqual(_parse(description), (["unix", path], {}))

    def test_all_kinds_of_the_contract(self) -> None:
        """``tcp:``, ``tls:``, ``ssl:``, ``unix:``, ``systemd:``; each behind a proxy, too."""
        for text in ("tcp:80", "tls:x:443", "ssl:443:x", "unix:x", "systemd:domain=INET:index=0"):
            self.assertEqual(endpoints(text), (text,))
            self.assertEqual(endpoints(f"haproxy:{text}"), (f"haproxy:{text}",))

    def test_other_kinds_are_refused(self) -> None:
        """A bare port is a common mistake; standard input is no place for clients."""
        for text in (
            "8080",
            "stdio:",
            "udp:80",
            "TCP:80",
            "",
            "tcp:80 8080",
            "http://localhost",
            "haproxy:80",
            "haproxy:haproxy:tcp:80",
        ):
            if text:
                self.assertRaises(ValueError, endpoints, text)
            else:
                self.assertEqual(endpoints(text), ())

    def test_an_adopted_unix_socket_is_refused(self) -> None:
        """Twisted would make it writable for everyone and unlink it in the end."""
        self.assertRaises(ValueError, endpoints, "systemd:domain=UNIX:index=0")
        self.assertRaises(ValueError, endpoints, "haproxy:systemd:domain=UNIX:index=0")


class FieldTests(SynchronousTestCase):
    """``API_HEADERS``, ``FORWARD_HEADERS``, ``API_TEXT_TYPE``."""

    def test_lines_of_name_and_value(self) -> None:
        """Order and repetition are kept; blank lines and blanks around values are not."""
        self.assertEqual(
            field_lines("Authorization: Bearer a:b\r\n\n  \nX-A:1\nX-A:\t2 \nX-Empty:"),
            (("Authorization", "Bearer a:b"), ("X-A", "1"), ("X-A", "2"), ("X-Empty", "")),
        )
        self.assertEqual(field_lines(""), ())

    def test_lines_that_are_no_field(self) -> None:
        """They would break the request, or set what is the gateway's own."""
        for text in ("X-A", "X A: 1", ": 1", " X-A: 1", "X-A : 1", "X-A: é", "X-A: \x00", "Ws_Uri: x", "Host: x"):
            self.assertRaises(ValueError, field_lines, f"X-Fine: 1\n{text}")

    def test_names_separated_by_commas(self) -> None:
        """As written; a comma too many does not matter, and commas alone forward nothing."""
        self.assertEqual(field_names("Authorization, x-a,,X-B ,"), ("Authorization", "x-a", "X-B"))
        self.assertEqual(field_names(","), ())

    def test_a_name_twice(self) -> None:
        """Its values would be forwarded twice."""
        self.assertRaises(ValueError, field_names, "X-A, x-a")

    def test_names_that_may_not_be_forwarded(self) -> None:
        """All that protocol §2 lists, and what is no name."""
        for name in (*RESERVED, "X A", "X:", "é", "X-A;X-B"):
            self.assertRaises(ValueError, field_names, f"Authorization, {name}")

    def test_media_types(self) -> None:
        """Parameters are kept."""
        for text in ("application/json", "text/plain; charset=utf-8", "application/vnd.x+json;v=1"):
            self.assertEqual(media_type(text), text)
        for text in ("", "json", "text/", "/plain", "text/plain\n", "text/plain, text/html", "text /plain", "é/x"):
            self.assertRaises(ValueError, media_type, text)

    @moderately
    @given(st.text(max_size=80))
    def test_no_line_can_smuggle_a_field(self, text: str) -> None:
        """Names are tokens and values one line of ASCII, whatever the text."""
        try:
            lines = field_lines(text)
        except ValueError:
            return
        for name, value in lines:
            self.assertRegex(name, r"\A[!-9;-~]+\Z")
            self.assertRegex(value, r"\A[ -~\t]*\Z")
            self.assertFalse(is_reserved(name))


class HealthPathTests(SynchronousTestCase):
    """Where load balancers ask."""

    def test_paths(self) -> None:
        """Any path in visible ASCII, or none."""
        for text in ("/", "/healthz", "/a/b;c=%20", "/AAAAAAAAAAAAAAAAAAAAAAAA/x"):
            self.assertEqual(health_path(text), text.encode())
        for text in ("off", "OFF"):
            self.assertIsNone(health_path(text))

    def test_others(self) -> None:
        """No query, no fragment, no blank; nothing that is a push already."""
        for text in ("healthz", "on", "/a b", "/a?b", "/a#b", "/é", "http://a/b", "/AAAAAAAAAAAAAAAAAAAAAAAA", "*"):
            self.assertRaises(ValueError, health_path, text)
        for text in ("/all", "/groups/up", "/a/users/x/members", "/batch", "/AAAAAAAAAAAAAAAAAAAAAAAA/groups"):
            self.assertRaises(ValueError, health_path, text)


class SecretTests(SynchronousTestCase):
    """Secrets, and the files that hold the values of settings."""

    def test_words(self) -> None:
        """Separated by any blanks; of visible ASCII, each long enough."""
        self.assertEqual(words(3)(" abc  d!f\ng:h\t"), (b"abc", b"d!f", b"g:h"))
        for text in ("", " ", "ab", "abc de", "abc d\0f", "abc d\u00e9f"):
            self.assertRaises(ValueError, words(3), text)

    def test_files(self) -> None:
        """One end of line does not count, nor does a byte order mark; all else does."""
        path = Path(self.mktemp())
        for content, text in (
            (b"a", "a"),
            (b"a\n", "a"),
            (b"a\r\n", "a"),
            (b" a\n\n", " a\n"),
            (b"\xc3\xa9", "é"),
            (b"\xef\xbb\xbfA: b\r\n", "A: b"),
        ):
            path.write_bytes(content)
            self.assertEqual(file_text(str(path)), text)
        path.write_bytes(b"x" * 65536)
        self.assertEqual(len(file_text(str(path))), 65536)

    def test_files_that_cannot_be_read(self) -> None:
        """Why is said, but not what is in them."""
        path = Path(self.mktemp())
        for content in (b"x" * 65537, b"hunter2\xff", b"\n \n", b"", b"\xef\xbb\xbf"):
            path.write_bytes(content)
            error = self.assertRaises(ValueError, file_text, str(path))
            self.assertTrue(str(error))
            self.assertNotIn("hunter2", str(error))
        for name in ("/nowhere/at/all", "/", "a\0b"):
            self.assertTrue(str(self.assertRaises(ValueError, file_text, name)))
