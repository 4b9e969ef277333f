"""The table of settings (protocol §5): defaults, rules, and who is given what."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import self_signed
from tests.properties import moderately
from wsaas.errors import SettingsError
from wsaas.settings.read import read_settings
from wsaas.settings.table import SETTINGS, Setting

API = {"API_URI": "localhost:80/websocket"}

#: One value for each setting that cannot be used; API_CA and API_CERT name files.
UNUSABLE = {
    "API_URI": "ftp://localhost/",
    "WS_HOSTNAME": "http://localhost:8080/?x",
    "WS_LISTEN": "8080",
    "PUSH_LISTEN": "udp:8080",
    "ADMIN_LISTEN": "9100",
    "WS_TIMEOUT": "soon",
    "API_TIMEOUT": "0",
    "API_RETRY_FOR": "-1",
    "API_RETRY_STATUS": "401 503",
    "API_DELETE_FOR": "604800001",
    "API_MAX_REQUESTS": "0",
    "API_SECRET": "fifteen letters",
    "API_WEBHOOK_SIGNATURE": "yes",
    "API_HEADERS": "Ws-Uri: mine",
    "API_CA": "/nowhere/ca.pem",
    "API_CERT": "/nowhere/cert.pem",
    "API_TEXT_TYPE": "json",
    "FORWARD_HEADERS": "Host",
    "PUSH_TOKEN": "not-ascii-\N{SNOWMAN}",
    "PUBLISH_TOKEN": "not-ascii-\N{SNOWMAN}",
    "WS_ORIGINS": "example.com",
    "WS_MAX_MESSAGE": "63",
    "WS_MAX_BUFFER": "1",
    "WS_MAX_TARGET": "16385",
    "WS_MAX_HEADERS": "32769",
    "WS_MAX_CONNECTIONS": "0",
    "WS_MAX_PER_ADDRESS": "-1",
    "WS_MAX_GROUPS": "1001",
    "PUSH_MAX_BATCH": "1023",
    "TRACE": "yes",
    "WS_COMPRESSION": "yes",
    "WS_HEALTH_PATH": "healthz",
    "TRUST_PROXY": "yes",
    "STATE_DIR": "state",
    "DRAIN_TIMEOUT": "-1",
    "LOG_LEVEL": "LOUD",
    "LOG_FORMAT": "xml",
}


#: Two secrets, as API_SECRET may have them.
SECRETS = "0123456789abcdef an-older-secret-that-goes-soon"


def shown_of(setting: Setting) -> str:
    """:returns: what an error shows of a value that cannot be used"""
    if setting.secret:
        return "…"
    hidden = {"API_HEADERS": "Ws-Uri: …", "WS_HOSTNAME": "http://localhost:8080/?…"}
    return hidden.get(setting.name, UNUSABLE[setting.name])


class DefaultsTests(SynchronousTestCase):
    """What holds if nothing but ``API_URI`` is given."""

    def test_the_defaults_of_the_contract(self) -> None:
        """Row by row; times in seconds."""
        settings = read_settings(API)
        self.assertEqual(settings.hostname, "http://localhost:8080")
        self.assertEqual(settings.drain_timeout, 10)
        self.assertIsNone(settings.state_dir)
        self.assertEqual((settings.max_connections, settings.max_per_address, settings.trust_proxy), (None, 0, 0))
        self.assertEqual((settings.listen.clients, settings.listen.pushes, settings.listen.admin), ((), (), ()))
        self.assertEqual((settings.api.timeout, settings.api.max_requests), (30, 256))
        self.assertEqual((settings.api.headers, settings.api.ca, settings.api.certificate), ((), None, None))
        self.assertEqual((settings.api.secrets, settings.push_tokens, settings.publish_tokens), ((), (), ()))
        self.assertEqual((settings.connection.max_groups, settings.max_batch), (100, 1048576))
        self.assertEqual(settings.api.text_type, "text/plain; charset=utf-8")
        self.assertEqual(settings.connection.timeout, 30)
        self.assertEqual((settings.connection.max_message, settings.connection.max_buffer), (131072, 1048576))
        self.assertEqual(settings.handshake.forward_headers, ("Authorization", "Sec-WebSocket-Protocol"))
        self.assertTrue(settings.handshake.origins.everyone)
        self.assertFalse(settings.handshake.compression)
        bounds = (settings.handshake.max_target, settings.handshake.max_headers, settings.handshake.max_head)
        self.assertEqual(bounds, (2048, 6144, 16_384))
        self.assertEqual(settings.listen.health, b"/healthz")
        self.assertEqual((settings.log.level, settings.log.format), ("INFO", "text"))

    def test_the_values_of_headers_are_not_repeated(self) -> None:
        """They may be secrets; the names tell which line it is."""
        for lines, shown in (
            ("Authorization: Bearer hunter2\nHost: me", "Authorization: …\nHost: …"),
            ("Authorization Bearer hunter2", "…"),
            ("X-A: 1\nhunter2", "X-A: …\n…"),
            ("X-A: 1\n hunter2:2", "X-A: …\n…"),
            ("Bearer hunter2: x", "…"),
            ("X-A:hunter2\rhunter2: x\x85hunter2", "X-A: …"),
        ):
            error = self.assertRaises(SettingsError, read_settings, {**API, "API_HEADERS": lines})
            self.assertEqual(error.given, shown)
            self.assertNotIn("hunter2", str(error))

    def test_an_api_whose_name_cannot_be_one(self) -> None:
        """Each callback would fail, with TLS or without."""
        for host in ("a" * 64, "-a.test", "a..test", "a%2fb", "a." * 130 + "test"):
            for scheme in ("http", "https"):
                error = self.assertRaises(SettingsError, read_settings, {"API_URI": f"{scheme}://{host}/ws"})
                self.assertEqual(error.name, "API_URI")
        for host in ("my_api", "_a.b_.test", "a.test.", "127.0.0.1", "[::1]", "localhost", "xn--mnchen-3ya.test"):
            read_settings({"API_URI": f"{host}/ws"})

    def test_which_rule_an_address_breaks(self) -> None:
        """Of ``API_URI`` and ``WS_HOSTNAME`` alike."""
        for text, why in (
            ("localhost:70000", "no such port"),
            ("localhost:0", "no such port"),
            ("localhost:99999999/", "no such port"),
            ("localhost:http", "the port is not a number"),
            ("localhost:", "no port behind the colon"),
            (":8080", "no host"),
            ("http:///x", "no host"),
            ("my api:80", "a blank"),
            ("localhost:80/\N{NO-BREAK SPACE}", "a blank"),
            ("a\x00b", "a control character"),
            (
                "http://m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.test/",
                "not ASCII: such a host name is",
            ),
            ("ftp://x/", "neither http:// nor https://"),
            ("ws://x/", "neither http:// nor https://"),
            ("::1", "no host"),
            ("fe80::1:80", "needs brackets"),
            ("http://[::1/", "brackets"),
        ):
            for name in ("API_URI", "WS_HOSTNAME"):
                error = self.assertRaises(SettingsError, read_settings, {**API, name: text})
                self.assertEqual(error.name, name)
                self.assertIn(why, error.why, text)
        for text, why in (("http://user:secret@x/", "a user"), ("http://x/#y", "a fragment"), ("a..b", "empty")):
            self.assertIn(why, self.assertRaises(SettingsError, read_settings, {"API_URI": text}).why)
        for text, why in (
            ("unix:/foo", "an endpoint"),
            ("tcp:8080", "an endpoint"),
            ("haproxy:tcp:8080", "an endpoint"),
            ("http://h/?x", "a query"),
            ("http://h/#x", "a fragment"),
            ("h\\", "a backslash"),
            *((f"http://h/{segment}/x", "a meaning of its own") for segment in ("groups", "users", "all", "members")),
            ("h/a/batch/", "a meaning of its own"),
            ("h/AAAAAAAAAAAAAAAAAAAAAAAA", "a meaning of its own"),
        ):
            error = self.assertRaises(SettingsError, read_settings, {**API, "WS_HOSTNAME": text})
            self.assertIn(why, error.why, text)
        for text in ("http://groups", "users:80", "http://h/group/Users/all-of-it", "h/AAAAAAAAAAAAAAAAAAAAAAA"):
            self.assertEqual(read_settings({**API, "WS_HOSTNAME": text}).hostname, text)

    def test_which_rule_a_value_breaks(self) -> None:
        """Of every setting that has a rule of its own: what is said, and nothing of a secret."""
        for name, text, why in (
            ("WS_LISTEN", "8080", "a port needs its kind before it: tcp:8080"),
            ("WS_LISTEN", "udp:1", "'udp:1' does not begin"),
            ("WS_LISTEN", "tcp", "'tcp' does not begin"),
            ("WS_LISTEN", "systemd:domain=UNIX:index=0", "UNIX socket"),
            ("WS_TIMEOUT", "30 s", "units ms, s, m, h, d"),
            ("WS_TIMEOUT", "25h", "over 86400000ms"),
            ("API_TIMEOUT", "0", "below 1ms"),
            ("API_MAX_REQUESTS", "many", "not a whole number"),
            ("API_MAX_REQUESTS", "1e3", "not a whole number"),
            ("API_MAX_REQUESTS", "9" * 99, "over 10000"),
            ("API_RETRY_STATUS", "502,503", "blanks, not commas"),
            ("API_RETRY_STATUS", "200", "'200' is no status of failure"),
            ("API_RETRY_STATUS", "401", "401 has a meaning"),
            ("API_SECRET", "hunter2", "shorter than 16"),
            ("API_SECRET", "hunter2\N{SNOWMAN}" * 9, "not visible ASCII"),
            ("API_HEADERS", "hunter2", "line 1 has no colon"),
            ("API_HEADERS", "X-A: 1\nX B: hunter2", "letters, digits and dashes"),
            ("API_HEADERS", "X-A: hunter2\N{SNOWMAN}", "value in line 1"),
            ("API_HEADERS", ": hunter2", "without a name"),
            ("API_HEADERS", "Host: hunter2", "Host is of the gateway"),
            ("API_TEXT_TYPE", "json", "type/subtype"),
            ("FORWARD_HEADERS", "*", "a * stands for nothing"),
            ("FORWARD_HEADERS", "X-*, Authorization", "a * stands for nothing"),
            ("FORWARD_HEADERS", "Authorization X-A", "letters, digits and dashes"),
            ("FORWARD_HEADERS", "X-A, x-a", "twice"),
            ("FORWARD_HEADERS", "User-Agent", "User-Agent is of the gateway"),
            ("STATE_DIR", "state", "begin with /"),
            ("STATE_DIR", "/a\nb", "cannot be printed"),
            ("WS_COMPRESSION", "yes", "none of these words"),
        ):
            error = self.assertRaises(SettingsError, read_settings, {**API, name: text})
            self.assertIn(why, error.why, name)
            self.assertIn(f"cannot be used: {error.why}; allowed: ", str(error))
            self.assertNotIn("hunter2", str(error))

    def test_all_errors_at_once(self) -> None:
        """A line for each, in the order of the table; what depends on others is checked with their defaults."""
        error = self.assertRaises(
            SettingsError,
            read_settings,
            {"WS_TIMEOUT": "soon", "PUSH_TOKEN_FILE": "/nowhere/t", "LOG_LEVEL": "LOUD", "FORWARD_HEADERS": "Cookie"},
        )
        names = [each.name for each in error.errors]
        self.assertEqual(names, ["API_URI", "PUSH_TOKEN_FILE", "WS_TIMEOUT", "LOG_LEVEL", "FORWARD_HEADERS"])
        self.assertEqual(error.name, "API_URI")
        self.assertEqual(len(str(error).splitlines()), 5)

    def test_the_api_uri_is_required(self) -> None:
        """The error names it, and the way without one."""
        error = self.assertRaises(SettingsError, read_settings, {})
        self.assertEqual(error.name, "API_URI")
        self.assertIn("--demo", str(error))

    def test_the_demo_needs_none(self) -> None:
        """Nor may there be one: which of the two would be called? The value itself is fine."""
        self.assertIsNone(read_settings({}, demo=True).api_uri)
        error = self.assertRaises(SettingsError, read_settings, API, demo=True)
        self.assertEqual(error.name, "API_URI")
        self.assertTrue(str(error).startswith("API_URI and --demo exclude each other"), str(error))

    def test_two_parents(self) -> None:
        """A fixed ``traceparent`` and ``TRACE=on``."""
        given = {**API, "API_HEADERS": "X-A: 1\nTraceParent: 00-1-1-00"}
        self.assertFalse(read_settings(given).api.trace)
        error = self.assertRaises(SettingsError, read_settings, {**given, "TRACE": "on"})
        self.assertTrue(str(error).startswith("API_HEADERS and TRACE=on exclude each other"), str(error))
        self.assertNotIn("00-1-1-00", str(error))

    def test_a_blank_value_counts_as_not_given(self) -> None:
        """As unit files and container files often have them."""
        blank = {setting.name: " " for setting in SETTINGS}
        self.assertEqual(read_settings({**blank, **API}), read_settings(API))
        self.assertEqual(self.assertRaises(SettingsError, read_settings, {"API_URI": ""}).name, "API_URI")

    def test_other_variables_are_nobodys_business(self) -> None:
        """The environment is full of them."""
        self.assertEqual(read_settings({**API, "HOME": "/", "WS_SOMETHING": "x"}), read_settings(API))


class GivenTests(SynchronousTestCase):
    """What is given goes where it is needed."""

    def test_each_setting_reaches_its_consumer(self) -> None:
        """None is read and forgotten."""
        certificate, key = self_signed()
        ca, cert = Path(self.mktemp()), Path(self.mktemp())
        ca.write_bytes(certificate)
        cert.write_bytes(certificate + key)
        settings = read_settings(
            {
                "API_URI": "https://api.example/ws?x",
                "WS_HOSTNAME": "https://push.example/",
                "WS_LISTEN": "tcp:1 tcp:2",
                "PUSH_LISTEN": "tcp:3",
                "WS_TIMEOUT": "0",
                "API_TIMEOUT": "1500",
                "API_RETRY_FOR": "2500",
                "API_RETRY_STATUS": "503  500",
                "API_DELETE_FOR": "0",
                "API_MAX_REQUESTS": "3",
                "API_SECRET": SECRETS,
                "API_HEADERS": "X-A: 1",
                "API_CA": str(ca),
                "API_CERT": str(cert),
                "API_TEXT_TYPE": "application/json",
                "FORWARD_HEADERS": "Cookie",
                "PUSH_TOKEN": "new old",
                "PUBLISH_TOKEN": "newer older",
                "WS_MAX_GROUPS": "7",
                "PUSH_MAX_BATCH": "2000",
                "WS_ORIGINS": "same",
                "WS_MAX_MESSAGE": "64",
                "WS_MAX_BUFFER": "128",
                "WS_MAX_TARGET": "8192",
                "WS_MAX_HEADERS": "10000",
                "WS_MAX_CONNECTIONS": "30",
                "WS_MAX_PER_ADDRESS": "4",
                "TRACE": "ON",
                "WS_COMPRESSION": "ON",
                "WS_HEALTH_PATH": "/up",
                "TRUST_PROXY": "2",
                "STATE_DIR": "/var/lib/wsaas",
                "DRAIN_TIMEOUT": "250",
                "LOG_LEVEL": "debug",
                "LOG_FORMAT": "JSON",
            }
        )
        assert settings.api_uri is not None
        self.assertEqual(settings.api_uri.uri, "https://api.example/ws?x")
        self.assertEqual(settings.hostname, "https://push.example")
        self.assertEqual((settings.listen.clients, settings.listen.pushes), (("tcp:1", "tcp:2"), ("tcp:3",)))
        self.assertEqual((settings.connection.timeout, settings.api.timeout), (0, 1.5))
        self.assertEqual((settings.api.retry_for, settings.api.delete_for), (2.5, 0))
        self.assertEqual(settings.api.retry_status, {500, 503})
        self.assertEqual((settings.api.max_requests, settings.api.headers), (3, (("X-A", "1"),)))
        self.assertEqual((settings.api.ca, settings.api.certificate), (ca.absolute(), cert.absolute()))
        self.assertEqual(settings.api.secrets, (b"0123456789abcdef", b"an-older-secret-that-goes-soon"))
        self.assertEqual(settings.push_tokens, (b"new", b"old"))
        self.assertEqual(settings.publish_tokens, (b"newer", b"older"))
        self.assertEqual((settings.connection.max_groups, settings.max_batch), (7, 2000))
        self.assertEqual(settings.api.text_type, "application/json")
        self.assertEqual(settings.handshake.forward_headers, ("Cookie",))
        self.assertTrue(settings.handshake.origins.same)
        self.assertTrue(settings.handshake.compression)
        self.assertTrue(settings.api.trace)
        self.assertEqual((settings.handshake.max_target, settings.handshake.max_headers), (8192, 10_000))
        self.assertEqual(settings.handshake.max_head, 8192 + 10_000 + 8192)
        self.assertEqual(settings.listen.health, b"/up")
        self.assertEqual((settings.max_connections, settings.max_per_address, settings.trust_proxy), (30, 4, 2))
        self.assertEqual((settings.connection.max_message, settings.connection.max_buffer), (64, 128))
        self.assertEqual(settings.api.max_body, 64)
        self.assertEqual(settings.drain_timeout, 0.25)
        self.assertEqual(settings.state_dir, Path("/var/lib/wsaas"))
        self.assertEqual((settings.log.level, settings.log.format), ("DEBUG", "json"))

    def test_settings_cannot_be_changed(self) -> None:
        """Parsed once, in one place."""
        settings = read_settings(API)
        with self.assertRaises(AttributeError):
            settings.hostname = "x"  # type: ignore[misc]  # that is the test


class ErrorsTests(SynchronousTestCase):
    """A bad value names the setting, what was given and what is allowed."""

    def test_every_setting_has_values_that_cannot_be_used(self) -> None:
        """And each error has the three parts."""
        self.assertEqual(set(UNUSABLE), {setting.name for setting in SETTINGS})
        for setting in SETTINGS:
            given = UNUSABLE[setting.name]
            shown = shown_of(setting)
            error = self.assertRaises(SettingsError, read_settings, {**API, "WS_HOSTNAME": "h", setting.name: given})
            self.assertEqual((error.name, error.given), (setting.name, shown))
            self.assertIn(setting.name, str(error))
            self.assertIn(repr(shown), str(error))
            self.assertIn(f"allowed: {error.allowed}", str(error))
            self.assertTrue(error.allowed)

    def test_why_a_file_cannot_be_read_is_said(self) -> None:
        """As is which word is no origin."""
        error = self.assertRaises(SettingsError, read_settings, {**API, "API_CA": "/nowhere/ca.pem"})
        self.assertIn("No such file", str(error))
        error = self.assertRaises(SettingsError, read_settings, {**API, "WS_ORIGINS": "same example.com"})
        self.assertIn("'example.com' is no origin", str(error))

    def test_certificates_that_cannot_be_used(self) -> None:
        """Known before anything listens: no certificate in it, a damaged one, no key, the key of another."""
        (certificate, key), (_, other) = self_signed(), self_signed()
        damaged = certificate[:100] + b"-----END CERTIFICATE-----\n"
        for name, content in (
            ("API_CA", key),
            ("API_CA", damaged),
            ("API_CA", certificate + damaged),
            ("API_CERT", certificate),
            ("API_CERT", key),
            ("API_CERT", damaged + key),
            ("API_CERT", certificate + other),
            ("API_CERT", certificate + key + damaged),
        ):
            path = Path(self.mktemp())
            path.write_bytes(content)
            error = self.assertRaises(SettingsError, read_settings, {**API, name: str(path)})
            self.assertEqual((error.name, error.given), (name, str(path)))
            self.assertNotIn("\n", str(error))

    def test_all_settings_of_the_contract_are_known(self) -> None:
        """Each once."""
        known = {setting.name for setting in SETTINGS}
        self.assertEqual(len(known), len(SETTINGS))
        for name in ("ADMIN_LISTEN", "API_SECRET", "PUSH_TOKEN", "STATE_DIR", "TRUST_PROXY", "WS_MAX_CONNECTIONS"):
            self.assertIn(name, known)

    def test_a_hostname_that_push_listen_does_not_tell(self) -> None:
        """No other address would do: there are no pushes at the clients' port."""
        for place in ("unix:/run/push", "systemd:domain=INET:name=push", "haproxy:tcp:8081", "tcp:0"):
            error = self.assertRaises(SettingsError, read_settings, {**API, "PUSH_LISTEN": place})
            self.assertEqual(error.name, "WS_HOSTNAME")
            self.assertIn("WS_HOSTNAME is not set, and PUSH_LISTEN", str(error))
            given = {**API, "PUSH_LISTEN": place, "WS_HOSTNAME": "http://localhost:8081"}
            self.assertEqual(read_settings(given).hostname, "http://localhost:8081")

    def test_the_hostname_follows_the_endpoints(self) -> None:
        """The first that takes pushes: scheme, port, and its address if it has one."""
        for listen, pushes, hostname in (
            ("", "", "http://localhost:8080"),
            ("tcp:27995", "", "http://localhost:27995"),
            ("tcp6:27995", "", "http://localhost:27995"),
            ("tcp:80", "", "http://localhost"),
            ("tls:/t", "", "https://localhost"),
            ("tls:/t:8443", "", "https://localhost:8443"),
            ("ssl:8443:privateKey=/k", "", "https://localhost:8443"),
            ("tcp:port=1:interface=127.0.0.1", "", "http://localhost:1"),
            ("tcp:1:interface=0.0.0.0 tcp:2", "", "http://localhost:1"),
            ("tcp:1:interface=10.0.0.5", "", "http://10.0.0.5:1"),
            ("tcp6:1:interface=fd00\\:\\:5", "", "http://[fd00::5]:1"),
            ("tcp6:1:interface=\\:\\:1", "", "http://localhost:1"),
            ("unix:/x tcp:2", "", "http://localhost:2"),
            ("haproxy:tcp:1 tcp:2", "", "http://localhost:2"),
            ("tcp:1", "tls:/t:2", "https://localhost:2"),
            ("tls:/t:1", "unix:/x tcp:2:interface=127.0.0.1", "http://localhost:2"),
            ("systemd:domain=INET6:name=wsaas", "", "http://localhost:8080"),
            ("unix:/x", "", "http://localhost:8080"),
            ("tcp:0", "", "http://localhost:8080"),
            ("tcp:80881", "", "http://localhost:8080"),
            ('tcp:1:interface=a"b', "", "http://localhost:8080"),
            ("tcp:1:nonsense=1", "", "http://localhost:8080"),
        ):
            settings = read_settings({**API, "WS_LISTEN": listen, "PUSH_LISTEN": pushes})
            self.assertEqual(settings.hostname, hostname, (listen, pushes))
            given = read_settings({**API, "WS_LISTEN": listen, "PUSH_LISTEN": pushes, "WS_HOSTNAME": "https://x/y/"})
            self.assertEqual(given.hostname, "https://x/y")

    def test_bounds_of_heads(self) -> None:
        """The lowest and the highest, and what is beyond."""
        for name, low, high in (("WS_MAX_TARGET", 256, 16_384), ("WS_MAX_HEADERS", 1024, 32_768)):
            for value in (low, high):
                handshakes = read_settings({**API, name: str(value)}).handshake
                self.assertIn(value, (handshakes.max_target, handshakes.max_headers))
            for value, why in ((low - 1, f"below {low}"), (high + 1, f"over {high}")):
                error = self.assertRaises(SettingsError, read_settings, {**API, name: str(value)})
                self.assertEqual((error.name, why in error.why, str(high) in error.allowed), (name, True, True))

    def test_messages_have_room_for_an_answer(self) -> None:
        """``{"code": "OK"}`` has 14 bytes: with a lower bound no client could ever be let in."""
        for text in ("13", "63"):
            error = self.assertRaises(SettingsError, read_settings, {**API, "WS_MAX_MESSAGE": text})
            self.assertEqual((error.name, error.given), ("WS_MAX_MESSAGE", text))
            self.assertIn('{"code": "OK"}', error.allowed)
        settings = read_settings({**API, "WS_MAX_MESSAGE": "64", "WS_MAX_BUFFER": "128"})
        self.assertGreaterEqual(settings.api.max_body, len('{"code": "OK"}'))

    def test_the_buffer_holds_two_messages(self) -> None:
        """Exactly twice is enough."""
        given = {**API, "WS_MAX_MESSAGE": "1000"}
        self.assertEqual(read_settings({**given, "WS_MAX_BUFFER": "2000"}).connection.max_buffer, 2000)
        error = self.assertRaises(SettingsError, read_settings, {**given, "WS_MAX_BUFFER": "1999"})
        self.assertEqual((error.name, error.given), ("WS_MAX_BUFFER", "1999"))
        self.assertIn("1000", error.allowed)

    def test_cookies_are_forwarded_only_with_origins(self) -> None:
        """Or any web page could connect in its visitor's name; a star restricts nothing."""
        for origins in ({}, {"WS_ORIGINS": "*"}):
            error = self.assertRaises(
                SettingsError, read_settings, {**API, **origins, "FORWARD_HEADERS": "Authorization, cookie"}
            )
            self.assertEqual(error.name, "FORWARD_HEADERS")
            self.assertIn("WS_ORIGINS", error.allowed)
        given = {**API, "FORWARD_HEADERS": "Cookie", "WS_ORIGINS": "https://a.example"}
        self.assertEqual(read_settings(given).handshake.forward_headers, ("Cookie",))

    def test_headers_of_proxies(self) -> None:
        """Only with proxies to trust, and never the two that the gateway sets itself."""
        names = ("X-Forwarded-User", "x-forwarded-email", "X-Forwarded-Groups", "X-Forwarded-Host", "X-Forwarded-Port")
        given = {**API, "FORWARD_HEADERS": ", ".join(["Authorization", *names])}
        error = self.assertRaises(SettingsError, read_settings, given)
        self.assertIn("X-Forwarded-User is set by a proxy, and TRUST_PROXY trusts none", str(error))
        self.assertIn("X-Forwarded-* only with TRUST_PROXY", error.allowed)
        handshake = read_settings({**given, "TRUST_PROXY": "1"}).handshake
        self.assertEqual(handshake.forward_headers, ("Authorization", *names))
        self.assertEqual(handshake.of_proxies, names)
        for name in ("X-Forwarded-For", "x-forwarded-proto", "X_Forwarded_For", "X_Forwarded_User", "X-Forwarded_User"):
            given = {**API, "FORWARD_HEADERS": name, "TRUST_PROXY": "1"}
            self.assertIn("is of the gateway", self.assertRaises(SettingsError, read_settings, given).why)
        # A fixed value is nobody's word.
        given = {**API, "API_HEADERS": "X-Forwarded-User: me", "TRUST_PROXY": "1"}
        self.assertIn("is of the gateway", self.assertRaises(SettingsError, read_settings, given).why)

    @moderately
    @given(
        st.dictionaries(
            st.sampled_from([setting.name for setting in SETTINGS]),
            st.text(max_size=30)
            | st.integers(-1, 10**10).map(str)
            | st.sampled_from(["*", "same", "on", "tcp:1", "a.example", "http://[x", "Cookie", "X-A: 1"]),
            max_size=6,
        ),
        st.booleans(),
    )
    def test_any_values_are_read_or_refused(self, given_values: dict[str, str], demo: bool) -> None:
        """With one exception that names settings of the table, each in one line."""
        try:
            settings = read_settings(given_values, demo=demo)
        except SettingsError as together:
            for error in together.errors:
                self.assertIn(error.name, {setting.name for setting in SETTINGS})
                self.assertNotIn("\n", str(error))
            self.assertEqual(str(together), "\n".join(map(str, together.errors)))
        else:
            self.assertEqual(settings.api_uri is None, demo)
            self.assertGreaterEqual(settings.connection.max_buffer, 2 * settings.connection.max_message)
