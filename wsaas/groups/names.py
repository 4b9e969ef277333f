"""Names of groups and users, and targets of a publish, as they stand in paths, headers and JSON (protocol §6.1).

Inside the gateway each set of members has one text: ``groups/<name>``, ``users/<name>`` or ``all``, with the name as
it is. On the wire names are percent-encoded (RFC 3986 §2.1) and decoded once, after everything is split: so an encoded
text is one name or an error, and never two names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

#: Characters of a name, and bytes of it as UTF-8.
MAX_CHARACTERS, MAX_BYTES = 64, 256

#: The target of those whom the API has let in.
EVERYONE = "all"
_GROUPS, _USERS = "groups/", "users/"
#: How error messages show a name.
_SHOWN = 40

#: What may stand unencoded. ``encodeURIComponent`` leaves ``!'()`` as they are, and ``*``, which means "all groups".
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~:@!'()]|%[0-9A-Fa-f]{2})+")


class BadNameError(ValueError):
    """A text that is no name, or no target.

    :param wrong: what is wrong with it, as the rest of a sentence
    :param text: the text, if it helps to see it
    :param kind: what it should have been
    """

    def __init__(self, wrong: str, text: str = "", kind: str = "a name") -> None:
        #: The same without the text: names are not logged.
        self.unnamed = f"{kind} {wrong}"
        super().__init__(f"{text[:_SHOWN]!r} {wrong}" if text else self.unnamed)


def check_name(name: str) -> str:
    """Check the name of a group or a user, not encoded.

    :returns: the name
    :raises BadNameError: saying what is wrong with it
    """
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadNameError("is not UTF-8") from None
    if not name:
        raise BadNameError("is empty")
    if len(name) > MAX_CHARACTERS or size > MAX_BYTES:
        raise BadNameError(f"has at most {MAX_CHARACTERS} characters, and {MAX_BYTES} bytes of UTF-8")
    if name in (".", ".."):
        raise BadNameError("is no name", name)
    if any(unicodedata.category(each) == "Cc" for each in name):
        raise BadNameError("has no control characters")
    return name


def encode(name: str) -> str:
    """:returns: a name as it stands in paths and headers"""
    return quote(name, safe=":@")


def decode(text: str) -> str:
    """Read a name as it stands in paths and headers.

    :raises BadNameError: saying what is wrong with it
    """
    if not text:
        raise BadNameError("is empty")
    if not _ENCODED.fullmatch(text):
        raise BadNameError("is not percent-encoded", text)
    try:
        return check_name(unquote_to_bytes(text).decode("utf-8"))
    except UnicodeDecodeError:
        raise BadNameError("is not UTF-8, percent-encoded", text) from None


def elements(values: Sequence[str]) -> Iterator[str]:
    """:returns: the elements of a header's list; empty ones count for nothing (RFC 9110 §5.6.1.2)"""
    for value in values:
        for element in value.split(","):
            if element.strip(" \t"):
                yield element.strip(" \t")


def read_names(values: Sequence[str]) -> tuple[str, ...]:
    """Read a list of names, such as ``Ws-Join``.

    :param values: of the header, one for each line it stands in
    :returns: each name once, in order
    :raises BadNameError: saying what is wrong with one of them
    """
    return tuple(dict.fromkeys(map(decode, elements(values))))


def group(name: str) -> str:
    """:returns: the target of a group"""
    return _GROUPS + name


def user(name: str) -> str:
    """:returns: the target of a user"""
    return _USERS + name


def name_of(target: str) -> str:
    """:returns: the name in a target of a group or a user"""
    return target.partition("/")[2]


def read_target(text: str) -> str:
    """Read one target: ``groups/<encoded name>``, ``users/<encoded name>`` or ``all``.

    :returns: the target, its name decoded
    :raises BadNameError: saying what is wrong with it
    """
    if text == EVERYONE:
        return EVERYONE
    for kind in (_GROUPS, _USERS):
        if text.startswith(kind):
            return kind + decode(text.removeprefix(kind))
    raise BadNameError("is no target: groups/<name>, users/<name> or all", text, "what is named")


def read_targets(text: str) -> tuple[str, ...]:
    """Read a list of targets.

    :returns: each once, in order; at least one
    :raises BadNameError: saying what is wrong with one of them
    """
    targets = tuple(dict.fromkeys(map(read_target, elements((text,)))))
    if not targets:
        raise BadNameError("is missing", kind="the target")
    return targets


def is_user(targets: Sequence[str]) -> bool:
    """:returns: whether the first of some targets is a user"""
    return bool(targets) and targets[0].startswith(_USERS)


def groups_in(targets: Sequence[str]) -> list[str]:
    """:returns: the names of the groups among what a connection is in (``Connection.groups``), in order of joining"""
    return [name_of(target) for target in targets if target.startswith(_GROUPS)]
