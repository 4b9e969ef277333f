"""The names of a connection: its key, which is a secret, and its tag, which is not."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

#: 144 random bits: above the 128 that the contract asks for, and a multiple of 24, so that base64 needs no padding.
KEY_BYTES = 18
#: Characters of a key.
KEY_LENGTH = KEY_BYTES * 4 // 3

_KEY = re.compile(rf"[A-Za-z0-9_-]{{{KEY_LENGTH}}}")
_TAG_LENGTH = 22


@dataclass(frozen=True, slots=True)
class Identity:
    """The names of one connection.

    :param key: the last path segment of the ``ws_uri``. A credential: never logged, never sent to the client
    :param tag: the name in logs and in ``Ws-Id``; tells nothing about the key
    :param ws_uri: where the API pushes to
    """

    key: str = field(repr=False)
    tag: str
    ws_uri: str = field(repr=False)


def tag_of(key: str) -> str:
    """:returns: the tag of a connection: the first 22 characters of base64url(SHA-256(key))"""
    return urlsafe_b64encode(sha256(key.encode("ascii")).digest())[:_TAG_LENGTH].decode("ascii")


def new_identity(hostname: str, token_bytes: Callable[[int], bytes]) -> Identity:
    """Make the names of a new connection.

    :param hostname: ``WS_HOSTNAME``, without a trailing slash
    :param token_bytes: the source of unguessable bytes; :func:`secrets.token_bytes` outside tests
    """
    key = urlsafe_b64encode(token_bytes(KEY_BYTES)).decode("ascii")
    return Identity(key, tag_of(key), f"{hostname}/{key}")


def is_key(text: str) -> bool:
    """:returns: whether a path segment has the shape of a key; says nothing about whether it is one"""
    return _KEY.fullmatch(text) is not None
