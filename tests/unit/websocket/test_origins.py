"""``WS_ORIGINS`` (protocol §5): which web pages may connect."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.websocket.origins import Origins, parse_origins

_LABEL = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
_HOST = st.lists(_LABEL, min_size=1, max_size=4).map(".".join)
_SCHEME = st.sampled_from(["http", "https"])


class AllowsTests(SynchronousTestCase):
    """An origin against a list."""

    def check(self, setting: str, origin: str | None, host: str = "gateway.example") -> bool:
        """:returns: whether the origin may connect"""
        return parse_origins(setting).allows(origin, host)

    def test_a_star_allows_everyone(self) -> None:
        """So does the default: any page, the opaque origin, and what is no origin at all."""
        for origins in (parse_origins("*"), parse_origins("  * "), Origins()):
            for origin in ("https://evil.example", "null", "garbage", None):
                self.assertTrue(origins.allows(origin, "gateway.example"))

    def test_no_origin_is_allowed(self) -> None:
        """No browser leaves it out, so its absence is no page's doing."""
        self.assertTrue(self.check("https://a.example", None))
        self.assertTrue(self.check("same", None))

    def test_again(self) -> None:
        """What was allowed once is remembered, but not what was only for one host; and not without end."""
        origins = parse_origins("same https://*.a.example")
        for _ in range(2):
            self.assertTrue(origins.allows("https://b.example", "b.example"))
            self.assertFalse(origins.allows("https://b.example", "a.example"))
            self.assertFalse(origins.allows("https://a.example", "gateway.example"))
            for number in range(1000):
                self.assertTrue(origins.allows(f"https://{number}.a.example", "gateway.example"))
                self.assertFalse(origins.allows(f"https://{number}.b.example", "gateway.example"))
        self.assertLess(len(origins._known), 1000)

    def test_scheme_host_and_port_must_agree(self) -> None:
        """One that differs is another origin (RFC 6454 §5)."""
        self.assertTrue(self.check("https://a.example", "https://a.example"))
        for origin in (
            "http://a.example",
            "https://b.example",
            "https://a.example:8443",
            "https://a.example.evil.example",
            "https://evil-a.example",
            "https://x.a.example",
            "https://a.exampl",
        ):
            self.assertFalse(self.check("https://a.example", origin), origin)

    def test_a_default_port_may_be_left_out_on_either_side(self) -> None:
        """https is 443, http is 80."""
        self.assertTrue(self.check("https://a.example:443", "https://a.example"))
        self.assertTrue(self.check("https://a.example", "https://a.example:443"))
        self.assertTrue(self.check("http://a.example:80", "http://a.example"))
        self.assertFalse(self.check("http://a.example:443", "http://a.example"))

    def test_case_does_not_matter(self) -> None:
        """Schemes and hosts are case-insensitive (RFC 3986 §6.2.2.1)."""
        self.assertTrue(self.check("HTTPS://A.Example", "https://a.EXAMPLE"))

    def test_a_star_stands_for_exactly_one_label(self) -> None:
        """Neither for none nor for two."""
        setting = "https://*.example.com"
        self.assertTrue(self.check(setting, "https://a.example.com"))
        for origin in (
            "https://example.com",
            "https://a.b.example.com",
            "https://.example.com",
            "https://a.example.com.evil.example",
            "https://aexample.com",
            "https://a.example.com:444",
        ):
            self.assertFalse(self.check(setting, origin), origin)
        self.assertTrue(self.check("https://a.*.com", "https://a.b.com"))

    def test_a_star_in_an_origin_stands_for_itself(self) -> None:
        """A page cannot send a pattern."""
        self.assertFalse(self.check("https://a.example.com", "https://*.example.com"))
        self.assertFalse(self.check("https://*.example.com", "https://*.example.com"))

    def test_same_is_the_handshakes_own_host(self) -> None:
        """Default ports are filled in by the origin's scheme; host names compare without case."""
        self.assertTrue(self.check("same", "https://gateway.example"))
        self.assertTrue(self.check("same", "https://gateway.example", "Gateway.Example:443"))
        self.assertTrue(self.check("same", "http://gateway.example:8080", "gateway.example:8080"))
        self.assertTrue(self.check("same", "http://[::1]:8080", "[::1]:8080"))
        self.assertFalse(self.check("same", "https://evil.example"))
        self.assertFalse(self.check("same", "https://gateway.example", "gateway.example:8443"))
        self.assertFalse(self.check("same", "http://gateway.example:8080", "gateway.example"))
        self.assertFalse(self.check("same", "https://x.gateway.example"))

    def test_same_with_a_host_that_is_none(self) -> None:
        """A malformed Host matches no origin."""
        for host in ("", "a b", "user@gateway.example", "gateway.example/", "gateway.example:x", "[::1"):
            self.assertFalse(self.check("same", "https://gateway.example", host), host)

    def test_same_beside_others(self) -> None:
        """Each word adds."""
        self.assertTrue(self.check("same https://a.example", "https://a.example"))
        self.assertTrue(self.check("same https://a.example", "https://gateway.example"))
        self.assertFalse(self.check("same https://a.example", "null"))

    def test_null_only_if_listed(self) -> None:
        """Sandboxed pages and files have the origin null."""
        self.assertFalse(self.check("https://a.example", "null"))
        self.assertFalse(self.check("same", "null", "null"))
        self.assertTrue(self.check("https://a.example null", "null"))
        self.assertFalse(self.check("null", "https://a.example"))
        self.assertFalse(self.check("null", "https://null"))

    def test_what_is_no_origin_is_not_allowed(self) -> None:
        """Nor is a prefix or suffix of it that would be one."""
        for origin in (
            "",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://evil.example/https://a.example",
            "https://a.example?x",
            "https://a.example#x",
            "https://u@a.example",
            "https://a.example@evil.example",
            "https://a.example:",
            "https://a.example:443x",
            "https://a.example, https://evil.example",
            "https://a.example https://evil.example",
            "https://a.example\n",
            "\thttps://a.example",
            "NULL ",
        ):
            self.assertFalse(self.check("https://a.example same null", origin, "a.example"), origin)

    def test_addresses(self) -> None:
        """IPv4 and IPv6 literals are hosts like others."""
        self.assertTrue(self.check("http://127.0.0.1:3000", "http://127.0.0.1:3000"))
        self.assertTrue(self.check("http://[::1]:3000", "http://[::1]:3000"))
        self.assertFalse(self.check("http://[::1]:3000", "http://[::2]:3000"))

    def test_schemes_without_a_default_port(self) -> None:
        """A browser's extension has an origin too."""
        self.assertTrue(self.check("chrome-extension://abc", "chrome-extension://abc"))
        self.assertFalse(self.check("chrome-extension://abc", "chrome-extension://abd"))

    @moderately
    @given(st.text(max_size=60), st.text(max_size=30), st.booleans(), st.booleans())
    def test_any_origin_and_host_can_be_judged(self, origin: str, host: str, same: bool, null: bool) -> None:
        """Nothing a client sends raises, and what is not listed is not allowed."""
        origins = Origins(False, same, null, parse_origins("https://very.unlikely.example").patterns)
        if origins.allows(origin, host):
            expected = (null and origin == "null") or (same and host.lower().split(":")[0] in origin.lower())
            self.assertTrue(expected or origin.lower().startswith("https://very.unlikely.example"))

    @moderately
    @given(_SCHEME, _HOST, st.none() | st.integers(1, 65535), _HOST)
    def test_a_listed_origin_is_allowed_and_only_it(self, scheme: str, host: str, port: int | None, other: str) -> None:
        """For whatever is listed."""
        suffix = "" if port is None else f":{port}"
        origins = parse_origins(f"{scheme}://{host}{suffix}")
        self.assertTrue(origins.allows(f"{scheme}://{host}{suffix}", "x"))
        self.assertEqual(origins.allows(f"{scheme}://{other}{suffix}", "x"), other == host)
        self.assertFalse(origins.allows(f"{scheme}://{host}.{other}{suffix}", "x"))
        self.assertFalse(origins.allows(f"{scheme}://{other}.{host}{suffix}", "x"))

    @moderately
    @given(_SCHEME, _HOST, st.none() | st.integers(1, 65535))
    def test_same_allows_whatever_host_was_asked_for(self, scheme: str, host: str, port: int | None) -> None:
        """A page that came from where its socket goes to."""
        suffix = "" if port is None else f":{port}"
        self.assertTrue(parse_origins("same").allows(f"{scheme}://{host}{suffix}", f"{host}{suffix}"))


class ParseTests(SynchronousTestCase):
    """The value of the setting."""

    def test_words_that_are_no_origin_are_named(self) -> None:
        """A typing error must not turn into an origin that never matches, or matches too much."""
        for word in (
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://*a.example",
            "https://a*.example",
            "https://**.example",
            "https://a..example",
            "https://.example",
            "https://a.example:*",
            "https://a.example:",
            "https://u@a.example",
            "https://a.example,https://b.example",
            "same,null",
            "//a.example",
            "*.example",
            # Neither of these is ever sent: a browser writes xn--bcher-kva, decodes percent signs, and knows the ports.
            "https://b\u00fccher.example",
            "https://a%00.example",
            "https://a.example:0",
            "https://a.example:65536",
            "https://a.example:99999",
        ):
            error = self.assertRaises(ValueError, parse_origins, f"https://fine.example {word}")
            self.assertIn(word, str(error))

    def test_a_star_beside_other_words(self) -> None:
        """It looks like a restriction, but there is none."""
        self.assertRaises(ValueError, parse_origins, "* https://a.example")
        self.assertRaises(ValueError, parse_origins, "same *")

    def test_nothing(self) -> None:
        """An empty list would keep out every page; that is not what a blank setting means."""
        self.assertRaises(ValueError, parse_origins, " \n")

    @moderately
    @given(st.text(max_size=60))
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        """With ValueError alone; and everyone only for a star."""
        try:
            origins = parse_origins(text)
        except ValueError:
            return
        self.assertEqual(origins.everyone, text.strip() == "*")
