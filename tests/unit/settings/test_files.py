"""Settings in files, and secrets: what is read, and what is never shown."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.settings.test_read import API, SECRETS
from wsaas.errors import SettingsError
from wsaas.settings.read import read_settings


class SecretsTests(SynchronousTestCase):
    """API_SECRET, PUSH_TOKEN and API_HEADERS: from files too, and never shown."""

    def file(self, content: bytes) -> str:
        """:returns: the path of a file"""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_from_files(self) -> None:
        """As in the environment, with or without an end of line."""
        for end in (b"", b"\n", b"\r\n"):
            settings = read_settings(
                {
                    **API,
                    "API_SECRET_FILE": self.file(SECRETS.encode() + end),
                    "PUSH_TOKEN_FILE": self.file(b"new\nold" + end),
                    "PUBLISH_TOKEN_FILE": self.file(b"newer older" + end),
                    "API_HEADERS_FILE": self.file(b"X-A: 1" + end + b"\nX-B: 2" + end),
                }
            )
            self.assertEqual(settings.api.secrets, tuple(SECRETS.encode().split()))
            self.assertEqual(settings.push_tokens, (b"new", b"old"))
            self.assertEqual(settings.publish_tokens, (b"newer", b"older"))
            self.assertEqual(settings.api.headers, (("X-A", "1"), ("X-B", "2")))

    def test_nothing_of_a_file_is_shown(self) -> None:
        """By a wrong path it may be that of a secret."""
        for content in (b"hunter2", b"hunter2'hunter2", b'x"hunter2', "hunter2\N{SNOWMAN}".encode()):
            for name in ("WS_ORIGINS", "WS_MAX_CONNECTIONS", "API_HEADERS", "API_SECRET"):
                given = {**API, f"{name}_FILE": self.file(content)}
                error = self.assertRaises(SettingsError, read_settings, given)
                self.assertNotIn("hunter2", str(error))
        error = self.assertRaises(SettingsError, read_settings, {**API, "WS_ORIGINS_FILE": self.file(b"a")})
        self.assertIn("cannot be used: a word of it is no origin; allowed: a file with * alone", str(error))

    def test_one_of_both(self) -> None:
        """A value and a file: which of the two is meant?"""
        for name, value in (("API_SECRET", SECRETS), ("PUSH_TOKEN", "hunter2"), ("PUBLISH_TOKEN", "hunter2")):
            path = self.file(value.encode())
            error = self.assertRaises(SettingsError, read_settings, {**API, name: value, f"{name}_FILE": path})
            self.assertEqual((error.name, error.given), (f"{name}_FILE", path))
            self.assertIn(f"{name}_FILE and {name} exclude each other", str(error))
            self.assertNotIn(value, str(error))
            # A blank one counts as not given.
            read_settings({**API, name: " ", f"{name}_FILE": path})
            read_settings({**API, name: value, f"{name}_FILE": " "})

    def test_files_that_cannot_be_used(self) -> None:
        """The path is said, and why; nothing of what is in it."""
        short = b"hunter2 hunter3"
        for name in ("API_SECRET", "PUSH_TOKEN", "PUBLISH_TOKEN", "API_HEADERS"):
            for path, why in (
                ("/nowhere/secret", "No such file"),
                ("/", "directory"),
                ("/nowhere\0", "no path"),
                ("/dev/zero", "over 65536 bytes"),
                (self.file(b""), "empty"),
                (self.file(b" \n"), "empty"),
                (self.file(b"hunter2\xff"), "not UTF-8"),
                (self.file(b"\x01" + short), ""),
                (self.file("hunter2\N{SNOWMAN}".encode()), ""),
            ):
                error = self.assertRaises(SettingsError, read_settings, {**API, f"{name}_FILE": path})
                self.assertEqual((error.name, error.given), (f"{name}_FILE", path))
                self.assertIn(why, error.why)
                self.assertNotIn("hunter2", str(error))
                self.assertNotIn("hunter2", repr(error.__cause__))

    def test_their_values_are_not_repeated(self) -> None:
        """Neither in an error nor when the settings are printed."""
        for name, value in (
            ("API_SECRET", "hunter2"),
            ("API_SECRET", f"{SECRETS} hunter2"),
            ("PUSH_TOKEN", "hunter2é"),
            ("PUBLISH_TOKEN", "hunter2é"),
        ):
            error = self.assertRaises(SettingsError, read_settings, {**API, name: value})
            self.assertEqual((error.name, error.given), (name, "…"))
            self.assertNotIn("hunter2", str(error))
        given = {**API, "API_SECRET": SECRETS, "PUSH_TOKEN": "hunter2", "API_HEADERS": "X-A: hunter2"}
        given["PUBLISH_TOKEN"] = "hunter2"
        shown = repr(read_settings(given))
        for secret in ("hunter2", *SECRETS.split()):
            self.assertNotIn(secret, shown)

    def test_how_long_a_secret_is(self) -> None:
        """Each of those of API_SECRET has 16 characters; a token is as long as its owner likes."""
        self.assertEqual(read_settings({**API, "API_SECRET": "x" * 16}).api.secrets, (b"x" * 16,))
        self.assertRaises(SettingsError, read_settings, {**API, "API_SECRET": "x" * 15})
        self.assertRaises(SettingsError, read_settings, {**API, "API_SECRET": "x" * 16 + " " + "x" * 15})
        self.assertEqual(read_settings({**API, "PUSH_TOKEN": "x"}).push_tokens, (b"x",))

    def test_keys_of_standard_webhooks(self) -> None:
        """Each secret stands for one in base64, with whsec_ before it or not; the error shows none."""
        on, key = {**API, "API_WEBHOOK_SIGNATURE": "on"}, bytes(range(24))
        word = b64encode(key).decode("ascii")
        self.assertEqual(read_settings({**API, "API_SECRET": word}).api.webhook_keys, ())
        settings = read_settings({**on, "API_SECRET": f"{word} whsec_{word}"})
        self.assertEqual(settings.api.webhook_keys, (key, key))
        self.assertEqual(settings.api.secrets, (word.encode(), b"whsec_" + word.encode()))
        self.assertNotIn(repr(key), repr(settings))
        for secret, why in (
            ("", "there is no API_SECRET"),
            ("correct-horse-battery-staple", "not base64"),
            (f"{word} {word[:-1]}", "not base64"),
            (f"{word[:-2]}-_", "not base64"),
            (f"whsec-{word}", "not base64"),
            (b64encode(key[1:]).decode("ascii"), "less than 24 bytes"),
        ):
            error = self.assertRaises(SettingsError, read_settings, {**on, "API_SECRET": secret})
            self.assertEqual((error.name, error.given), ("API_WEBHOOK_SIGNATURE", "on"))
            self.assertIn(why, error.why)
            self.assertNotIn(word[:8], str(error))
        # What is wrong with a secret by itself is said once.
        error = self.assertRaises(SettingsError, read_settings, {**on, "API_SECRET": "hunter2"})
        self.assertEqual([each.name for each in error.errors], ["API_SECRET"])

    def test_headers_of_standard_webhooks(self) -> None:
        """Only the gateway sets them: with dashes or underscores, whatever the letter case."""
        for name in ("webhook-id", "Webhook-Timestamp", "WEBHOOK_SIGNATURE"):
            for given in ({"FORWARD_HEADERS": name}, {"API_HEADERS": f"{name}: 1"}):
                error = self.assertRaises(SettingsError, read_settings, {**API, **given})
                self.assertIn("is of the gateway", error.why)

    def test_the_demo_pushes_without_a_token(self) -> None:
        """Its page would be shown nothing but refusals."""
        error = self.assertRaises(SettingsError, read_settings, {"PUSH_TOKEN": "hunter2"}, demo=True)
        self.assertEqual(error.name, "PUSH_TOKEN")
        self.assertNotIn("hunter2", str(error))
        self.assertEqual(len(read_settings({"API_SECRET": SECRETS}, demo=True).api.secrets), 2)
        self.assertEqual(read_settings({"PUBLISH_TOKEN": "x"}, demo=True).publish_tokens, (b"x",))
