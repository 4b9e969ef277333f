"""The lines of a batch: what each means, and what is wrong with others."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.identity import tag_of
from wsaas.connections.messages import Message
from wsaas.groups import names
from wsaas.pushes.batch import Line, LineRefused, is_for_too_many, read_line, split_lines

KEY = "AbCdEfGhIjKlMnOpQrStUv_-"


def read(**members: Any) -> Line:
    """:returns: a line that has these members"""
    return read_line(json.dumps(members).encode(), 100)


def is_name(text: str) -> bool:
    """:returns: whether a text is a name"""
    try:
        names.check_name(text)
    except ValueError:
        return False
    return True


class ReadLineTests(SynchronousTestCase):
    """One message, and for whom it is."""

    def refused(self, line: bytes) -> LineRefused:
        """:returns: why a line cannot be carried out"""
        error: LineRefused = self.assertRaises(LineRefused, read_line, line, 100)
        self.assertNotIn(KEY, error.message)
        self.assertGreater(len(error.message), 8)
        return error

    def test_to(self) -> None:
        """Targets, whose names stand as they are; a ws_uri or a key."""
        for to, targets, keys in (
            ("all", ("all",), {}),
            ("groups/room 7, é/x", ("groups/room 7, é/x",), {}),
            ("groups/a%2Fb", ("groups/a%2Fb",), {}),
            (f"users/{KEY}", (f"users/{KEY}",), {}),
            (["groups/a", "users/b", "groups/a", "all"], ("groups/a", "users/b", "all"), {}),
            (KEY, (), {KEY: KEY}),
            ([f"http://h/x/{KEY}", KEY], (), {f"http://h/x/{KEY}": KEY, KEY: KEY}),
            (["all", f"/{KEY}"], ("all",), {f"/{KEY}": KEY}),
        ):
            line = read(to=to, text="a")
            self.assertEqual((line.targets, line.keys), (targets, keys), to)
            self.assertEqual(line.elements, len(targets) + len(keys))

    def test_messages(self) -> None:
        """Text, or bytes in base64."""
        self.assertEqual(read(to="all", text="é🐎").message, Message("é🐎".encode(), binary=False))
        self.assertEqual(read(to="all", text="").message, Message(b"", binary=False))
        self.assertEqual(read(to="all", base64="/+8=").message, Message(b"\xff\xef", binary=True))
        self.assertEqual(read(to="all", text="a" * 100).message.payload, b"a" * 100)

    def test_except_and_slow(self) -> None:
        """As the headers have them."""
        tag = tag_of(KEY)
        line = read(to="all", text="a", slow="skip", **{"except": [tag, f"{tag}-7"]})
        self.assertEqual((line.left_out, line.skips_slow), ({tag}, True))
        line = read(to="all", text="a", slow="close", **{"except": []})
        self.assertEqual((line.left_out, line.skips_slow), (frozenset(), False))

    def test_what_is_wrong(self) -> None:
        """One line of it."""
        good: dict[str, Any] = {"to": "all", "text": "a"}
        changes: tuple[dict[str, Any], ...] = (
            {"to": []},
            {"to": 1},
            {"to": None},
            {"to": {}},
            {"to": [1]},
            {"to": ""},
            {"to": "everyone"},
            {"to": "groups/"},
            {"to": "groups/.."},
            {"to": "users/a\0b"},
            {"to": "groups"},
            {"to": ["all", "groups/" + "a" * 65]},
            {"to": f"{KEY}/"},
            {"to": f"{KEY}x"},
            {"to": f"http://h/{KEY}?x"},
            {"text": None},
            {"text": 1},
            {"text": ["a"]},
            {"base64": "YQ=="},
            {"except": "x"},
            {"except": [KEY]},
            {"except": ["self"]},
            {"except": [1]},
            {"except": [tag_of(KEY)] * 65},
            {"slow": "wait"},
            {"slow": None},
            {"slow": []},
            {"excpet": []},
            {"code": "OK"},
        )
        for change in changes:
            error = self.refused(json.dumps({**good, **change}).encode())
            self.assertEqual(error.code, "BAD_REQUEST", change)
        for line in (
            b"{",
            b"[]",
            b'"a"',
            b"null",
            b"1" * 5000,
            b"[" * 100_000,
            b'{"to": "all"}',
            b'{"text": "a"}',
            b'{"to": "all", "text": "a", "text": "b"}',
            b'{"to": "all", "text": "\\ud800"}',
            b'{"to": "groups/\\ud800", "text": "a"}',
            b'{"to": "all", "text": "\xff"}',
            '{"to": "all", "text": "a"}'.encode("utf-16"),
            b'{"to": "all", "base64": "YQ"}',
            b'{"to": "all", "base64": "Y\\nQ=="}',
            b'{"to": "all", "base64": "_-8="}',
            b'{"to": "all", "text": "a"} {}',
        ):
            self.assertEqual(self.refused(line).code, "BAD_REQUEST", line[:60])

    def test_too_long(self) -> None:
        """Of the message, not of the line."""
        for member, value in (("text", "é" * 51), ("base64", b64encode(bytes(101)).decode())):
            error = self.refused(json.dumps({"to": "all", member: value}).encode())
            self.assertEqual(error.code, "MESSAGE_TOO_LONG")

    @moderately
    @given(st.binary(max_size=200))
    def test_any_bytes(self, line: bytes) -> None:
        """A line, or why not."""
        try:
            read_line(line, 100)
        except LineRefused:
            return

    @moderately
    @given(
        st.lists(st.text(min_size=1, max_size=30).filter(is_name), min_size=1, max_size=5),
        st.lists(st.text(min_size=1, max_size=30).filter(is_name), max_size=5),
        st.text(max_size=30).filter(lambda text: text.isprintable()),
    )
    def test_what_was_meant_is_read(self, groups: list[str], users: list[str], text: str) -> None:
        """Whatever the names are; with any JSON library."""
        to = [*(f"groups/{name}" for name in groups), *(f"users/{name}" for name in users)]
        for ascii_only in (False, True):
            line = read_line(json.dumps({"to": to, "text": text}, ensure_ascii=ascii_only).encode(), 1000)
            self.assertEqual(line.targets, tuple(dict.fromkeys(to)))
            self.assertEqual(line.message.payload, text.encode())


class BoundsTests(SynchronousTestCase):
    """What is told before anything is sent."""

    def test_lines(self) -> None:
        """Blank ones are passed over."""
        self.assertEqual(split_lines(b""), [])
        self.assertEqual(split_lines(b"\n \r\n\t\n"), [])
        self.assertEqual(split_lines(b"a\n\n  b \r\nc"), [b"a", b"b \r", b"c"])
        self.assertEqual(len(split_lines(b"\n" * 100_000 + b"x\n" * 1000)), 1000)
        self.assertEqual(len(split_lines(b"x\n" * 5000)), 1001)

    def test_elements(self) -> None:
        """1,000; commas elsewhere count for nothing."""
        for count, too_many in ((1, False), (1000, False), (1001, True)):
            line = json.dumps({"to": ["all"] * count, "text": "a"}).encode()
            self.assertEqual(is_for_too_many(line), too_many)
        self.assertFalse(is_for_too_many(json.dumps({"to": "all", "text": "," * 2000}).encode()))
        self.assertFalse(is_for_too_many(b"," * 2000))
        self.assertFalse(is_for_too_many(b"[" + b"1," * 2000 + b"1]"))
