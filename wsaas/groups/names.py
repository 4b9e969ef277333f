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


def check_name(name: str) -> str:
    """Check the name of a group or a user, not encoded.

    :returns: the name
    :raises ValueError: saying what is wrong with it
    """
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError("a name is not UTF-8") from None
    if not name:
        raise ValueError("a name is empty")
    if len(name) > MAX_CHARACTERS or size > MAX_BYTES:
        raise ValueError(f"a name has at most {MAX_CHARACTERS} characters, and {MAX_BYTES} bytes of UTF-8")
    if name in (".", ".."):
        raise ValueError(f"{name!r} is no name")
    if any(unicodedata.category(each) == "Cc" for each in name):
        raise ValueError("a name has no control characters")
    return name


def encode(name: str) -> str:
    """:returns: a name as it stands in paths and headers"""
    return quote(name, safe=":@")


def decode(text: str) -> str:
    """Read a name as it stands in paths and headers.

    :raises ValueError: saying what is wrong with it
    """
    if not text:
        raise ValueError("a name is empty")
    if not _ENCODED.fullmatch(text):
        raise ValueError(f"{text[:_SHOWN]!r} is not percent-encoded")
    try:
        return check_name(unquote_to_bytes(text).decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{text[:_SHOWN]!r} is not UTF-8, percent-encoded") from None


def _elements(values: Sequence[str]) -> Iterator[str]:
    """:returns: the elements of a header's list; empty ones count for nothing (RFC 9110 §5.6.1.2)"""
    for value in values:
        for element in value.split(","):
            if element.strip(" \t"):
                yield element.strip(" \t")


def read_names(values: Sequence[str]) -> tuple[str, ...]:
    """Read a list of names, such as ``Ws-Join``.

    :param values: of the header, one for each line it stands in
    :returns: each name once, in order
    :raises ValueError: saying what is wrong with one of them
    """
    return tuple(dict.fromkeys(map(decode, _elements(values))))


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
    :raises ValueError: saying what is wrong with it
    """
    if text == EVERYONE:
        return EVERYONE
    for kind in (_GROUPS, _USERS):
        if text.startswith(kind):
            return kind + decode(text.removeprefix(kind))
    raise ValueError(f"{text[:_SHOWN]!r} is no target: groups/<name>, users/<name> or all")


def read_targets(text: str) -> tuple[str, ...]:
    """Read a list of targets.

    :returns: each once, in order; at least one
    :raises ValueError: saying what is wrong with one of them
    """
    targets = tuple(dict.fromkeys(map(read_target, _elements((text,)))))
    if not targets:
        raise ValueError("there is no target")
    return targets


def is_user(targets: Sequence[str]) -> bool:
    """:returns: whether the first of some targets is a user"""
    return bool(targets) and targets[0].startswith(_USERS)


def groups_in(targets: Sequence[str]) -> list[str]:
    """:returns: the names of the groups among what a connection is in (``Connection.groups``), in order of joining"""
    return [name_of(target) for target in targets if target.startswith(_GROUPS)]
