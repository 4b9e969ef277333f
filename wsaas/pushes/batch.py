"""The body of ``POST base/batch``: one line of JSON is one message (protocol §6.5)."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from itertools import islice
from typing import Any

from wsaas.connections.identity import is_key
from wsaas.connections.messages import Message
from wsaas.groups import names
from wsaas.groups.left_out import check_left_out

#: How many lines a batch may have, and how many elements one of them may be for.
MAX_LINES, MAX_ELEMENTS = 1000, 1000

#: What is not blank, up to the end of its line. Blanks are passed over without a look at each line of them.
_LINE = re.compile(rb"\S[^\n]*")
_MEMBERS = frozenset({"to", "text", "base64", "except", "slow"})
_SLOW = {"close": False, "skip": True}


class LineRefused(Exception):
    """A line that cannot be carried out; the others can.

    :param message: what is wrong, without what may be a key
    :param code: the word for programs
    """

    def __init__(self, message: str, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Line:
    """One message, and for whom it is.

    :param message: what is sent
    :param targets: whose members get it, each once
    :param keys: of single connections, by what was given for them
    :param left_out: the tags of those that do not get it
    :param skips_slow: whether members without room are passed over
    """

    message: Message
    targets: tuple[str, ...]
    keys: dict[str, str]
    left_out: frozenset[str]
    skips_slow: bool

    @property
    def elements(self) -> int:
        """For how many elements it is."""
        return len(self.targets) + len(self.keys)


def split_lines(body: bytes) -> list[bytes]:
    """:returns: the lines that are not blank; one more than there may be, if there are too many"""
    return [found[0] for found in islice(_LINE.finditer(body), MAX_LINES + 1)]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Programs differ about which of them counts (RFC 8259 §4).
        raise ValueError("a name is there twice")
    return found


def _read_json(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise LineRefused("the line is no JSON in UTF-8, or has a name twice") from None
    if not isinstance(value, dict):
        raise LineRefused("a line is an object")
    return value


def is_for_too_many(line: bytes) -> bool:
    """Tell before anything is sent whether a line has too many elements.

    :param line: as it came; one that cannot be read has none
    """
    if line.count(b",") < MAX_ELEMENTS:
        # There are no more elements than commas and one. So most lines are read only once.
        return False
    try:
        to = _read_json(line).get("to")
    except LineRefused:
        return False
    return isinstance(to, list) and len(to) > MAX_ELEMENTS


def _read_message(value: dict[str, Any], max_message: int) -> Message:
    text, encoded = value.get("text"), value.get("base64")
    if ("text" in value) == ("base64" in value):
        raise LineRefused("a line has text, or base64")
    try:
        if isinstance(text, str):
            message = Message(text.encode("utf-8"), binary=False)
        elif isinstance(encoded, str):
            message = Message(b64decode(encoded, validate=True), binary=True)
        else:
            raise LineRefused("text and base64 are strings")
    except UnicodeEncodeError:
        raise LineRefused("the text has half a surrogate pair, which is no UTF-8") from None
    except ValueError:
        raise LineRefused("base64 is not that of RFC 4648, with its padding") from None
    if len(message.payload) > max_message:
        raise LineRefused(f"a message may have {max_message} bytes (WS_MAX_MESSAGE)", "MESSAGE_TOO_LONG")
    return message


def _strings(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise LineRefused(f"{name} is a list of strings")
    return value


def _read_to(value: object) -> tuple[tuple[str, ...], dict[str, str]]:
    """:returns: targets, and keys by what was given for them"""
    given = [value] if isinstance(value, str) else _strings(value, "to")
    if not given:
        raise LineRefused("to is empty")
    targets: dict[str, None] = {}
    keys: dict[str, str] = {}
    for element in given:
        try:
            if element == names.EVERYONE:
                targets[element] = None
            elif element.startswith("groups/"):
                # In JSON names stand as they are.
                targets[names.group(names.check_name(element.removeprefix("groups/")))] = None
            elif element.startswith("users/"):
                targets[names.user(names.check_name(element.removeprefix("users/")))] = None
            elif is_key(element.rpartition("/")[2]):
                keys[element] = element.rpartition("/")[2]
            else:
                raise ValueError("an element is groups/<name>, users/<name>, all, a ws_uri or a key")
        except ValueError as error:
            raise LineRefused(f"to: {error}") from None
    return tuple(targets), keys


def read_line(line: bytes, max_message: int) -> Line:
    """Read a line.

    :param max_message: bytes of the longest message
    :raises LineRefused: if it cannot be carried out
    """
    value = _read_json(line)
    if not set(value) <= _MEMBERS:
        raise LineRefused("a line has no members but to, text, base64, except, slow")
    if "to" not in value:
        raise LineRefused("a line says to whom")
    slow = value.get("slow", "close")
    if not isinstance(slow, str) or slow not in _SLOW:
        raise LineRefused("slow is close or skip")
    try:
        left_out = check_left_out(_strings(value.get("except", []), "except"))
    except ValueError as error:
        raise LineRefused(f"except: {error}") from None
    targets, keys = _read_to(value["to"])
    return Line(_read_message(value, max_message), targets, keys, left_out, _SLOW[slow])
