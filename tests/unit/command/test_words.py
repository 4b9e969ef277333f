"""The command lines of ``wsaas push``, ``publish`` and ``connect``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsaas.command.words import Message, connect, publish, push

WS_URI = "http://localhost:8080/cUf2VhqL0tO5nJ3rXw8yZ1aB"


class WordsTestCase(SynchronousTestCase):
    """Lines that can be read, and lines that cannot."""

    def refused(self, read: Callable[..., Any], *arguments: Any) -> str:
        """:returns: what is said of a command line"""
        errors = StringIO()
        self.patch(sys, "stderr", errors)
        stop = self.assertRaises(SystemExit, read, *arguments)
        self.assertEqual(stop.code, 2)
        return errors.getvalue()


class PushTests(WordsTestCase):
    """``wsaas push WS_URI [TEXT]``."""

    def push(self, *words: str, **environ: str) -> Message:
        """:returns: what is read, with some standard input"""
        return push(words, environ, BytesIO(b"from a pipe\r\n\n"))

    def test_text(self) -> None:
        """As it is."""
        self.assertEqual(self.push(WS_URI, "hé"), Message(WS_URI, "hé".encode()))
        self.assertEqual(self.push(WS_URI, ""), Message(WS_URI, b""))
        # Options may stand anywhere; behind -- is none.
        self.assertEqual(self.push(WS_URI, "--binary", "a"), Message(WS_URI, b"a", True))
        self.assertEqual(self.push(WS_URI, "--", "--binary"), Message(WS_URI, b"--binary"))

    def test_standard_input(self) -> None:
        """Text loses the end of its last line, which a shell has made; bytes lose nothing."""
        self.assertEqual(self.push(WS_URI).body, b"from a pipe\r\n")
        self.assertEqual(self.push(WS_URI, "--binary"), Message(WS_URI, b"from a pipe\r\n\n", True))
        for written, body in ((b"a\r\n", b"a"), (b"a\r", b"a\r"), (b"", b"")):
            self.assertEqual(push([WS_URI], {}, BytesIO(written)).body, body)

    def test_a_uri_without_a_scheme(self) -> None:
        """``WS_HOSTNAME`` may have none."""
        self.assertEqual(self.push("localhost:8080/x", "a").url, "http://localhost:8080/x")

    def test_no_uri(self) -> None:
        """What it is stays unsaid."""
        for text in ("ftp://h/SECRET", "http://", "http://h:port/SECRET", "h/SECRET\n", "http://[/SECRET"):
            said = self.refused(self.push, text, "a")
            self.assertIn("not an http:// or https:// URL", said)
            self.assertNotIn("SECRET", said)
        self.assertIn("where clients connect", self.refused(self.push, "ws://localhost/", "a"))

    def test_tokens(self) -> None:
        """From the environment, as the gateway has them: the first of several, or a file; not on the command line."""
        path = Path(self.mktemp())
        path.write_text("from-file other\n")
        named = str(path)
        for environ, token in (
            ({}, None),
            ({"PUSH_TOKEN": "new old"}, b"new"),
            ({"PUSH_TOKEN": "push", "PUBLISH_TOKEN": "publish"}, b"push"),
            ({"PUSH_TOKEN": " ", "PUBLISH_TOKEN": "publish"}, b"publish"),
            ({"PUSH_TOKEN_FILE": named}, b"from-file"),
        ):
            self.assertEqual(self.push(WS_URI, "a", **environ).token, token)
        self.assertEqual(self.push(WS_URI, "a", "--token-file", named, PUSH_TOKEN="other").token, b"from-file")
        self.assertNotIn("from-file", repr(self.push(WS_URI, "a", "--token-file", named)))
        self.refused(self.push, WS_URI, "a", "--token", "secret")

    def test_tokens_that_cannot_be_read(self) -> None:
        """The setting is named, the token is not."""
        self.assertIn("--token-file: No such file", self.refused(self.push, WS_URI, "a", "--token-file", "/nowhere"))
        said = self.refused(lambda: self.push(WS_URI, "a", PUSH_TOKEN_FILE="/nowhere"))
        self.assertIn("PUSH_TOKEN_FILE: No such file", said)
        said = self.refused(lambda: self.push(WS_URI, "a", PUSH_TOKEN="SECRÉT"))
        self.assertIn("PUSH_TOKEN: a character is not visible ASCII", said)
        self.assertNotIn("SECR", said)


class PublishTests(WordsTestCase):
    """``wsaas publish TARGET [TEXT]``."""

    def publish(self, *words: str, **environ: str) -> Message:
        """:returns: what is read"""
        return publish([*words, "hi"], environ, BytesIO())

    def test_targets(self) -> None:
        """What is by name; other than ASCII is escaped, what is escaped stays."""
        for target, path in (
            ("all", "all"),
            ("groups/room-7", "groups/room-7"),
            ("users/Jürgen", "users/J%C3%BCrgen"),
            ("groups/a%2Fb c", "groups/a%2Fb%20c"),
        ):
            self.assertEqual(self.publish(target).url, f"http://localhost:8080/{path}")
        for target in ("", "room-7", "groups/", "groups/a/b", "groups/a?b", "batch", "/all"):
            self.assertIn("none of all, groups/NAME", self.refused(self.publish, target))

    def test_where(self) -> None:
        """The option, ``WS_HOSTNAME``, or what a gateway has by default."""
        self.assertEqual(self.publish("all", WS_HOSTNAME="https://gw/x/").url, "https://gw/x/all")
        self.assertEqual(self.publish("all", "--url", "gw:81", WS_HOSTNAME="other").url, "http://gw:81/all")
        self.assertIn("WS_HOSTNAME: it is not", self.refused(lambda: self.publish("all", WS_HOSTNAME="ftp://x")))

    def test_token(self) -> None:
        """``PUSH_TOKEN`` opens no publish."""
        self.assertEqual(self.publish("all", PUBLISH_TOKEN="publish", PUSH_TOKEN="push").token, b"publish")
        self.assertIsNone(self.publish("all", PUSH_TOKEN="push").token)

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def test_any_name(self, name: str) -> None:
        """What is sent is one segment in visible ASCII."""
        if name and not set(name) & set("/?#"):
            url = self.publish(f"groups/{name}" if "\0" not in name else "all").url
            self.assertRegex(url, r"\Ahttp://localhost:8080/(all|groups/[!-~]+)\Z")


class ConnectTests(WordsTestCase):
    """``wsaas connect WS_URL``."""

    def test_defaults(self) -> None:
        """A URL is enough, and host and port of one are."""
        dial = connect(["localhost:8080/chat?room=7"])
        self.assertEqual((dial.url, dial.binary, dial.wait), ("ws://localhost:8080/chat?room=7", False, 1.0))

    def test_options(self) -> None:
        """A handshake can have more."""
        words = ["wss://h/", "--protocol", "a", "--protocol", "b", "--header", "Origin: http://x", "--wait", "0.5"]
        dial = connect([*words, "--binary"])
        self.assertEqual((dial.protocols, dial.headers), (("a", "b"), {"Origin": "http://x"}))
        self.assertEqual((dial.binary, dial.wait), (True, 0.5))

    def test_refused(self) -> None:
        """In a line each."""
        for words, said in (
            (["http://h/"], "not a ws:// or wss:// URL"),
            (["ws://h/#a"], "not a ws:// or wss:// URL"),
            (["ws://[/"], "not a ws:// or wss:// URL"),
            (["h", "--header", "Origin"], "not Name: value"),
            (["h", "--header", "A: b\r\nC: d"], "not Name: value"),
            (["h", "--wait", "long"], "not a number of seconds"),
        ):
            self.assertIn(said, self.refused(connect, words))
