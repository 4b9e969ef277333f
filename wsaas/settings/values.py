"""Parsers of the values of settings: each converts text to a value, or raises :class:`ValueError`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from twisted.internet._idna import _idnaBytes  # the rule of HostnameEndpoint and of TLS, not exported
from twisted.internet.abstract import isIPAddress, isIPv6Address

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_DESCRIPTION = re.compile(r"(?:\\.|\S)+", re.DOTALL)
_FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*")
#: The most bytes of a file with a secret.
_MAX_FILE = 65536
_SCHEME = re.compile(r"([^:/?#]*)://")
_HTTP = re.compile(r"(https?://)?(.*)", re.IGNORECASE | re.DOTALL)
_BEHIND_THE_PATH = re.compile(r"([?#]).*", re.DOTALL)

#: Headers that FORWARD_HEADERS and API_HEADERS may not name, as they belong to one hop (RFC 9110 §7.6.1) or to this
#: gateway.
_RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_RESERVED_PREFIXES = ("ws-", "x-forwarded-", "content-")


def is_reserved(name: str) -> bool:
    """:returns: whether a header belongs to the gateway, so that neither a client nor an operator may set it

    Underscores count as dashes: WSGI and CGI cannot tell ``Ws_Uri`` from ``Ws-Uri``.
    """
    plain = name.lower().replace("_", "-")
    return plain in _RESERVED or plain.startswith(_RESERVED_PREFIXES)


@dataclass(frozen=True, slots=True)
class ApiUri:
    """Where callbacks go.

    :param uri: absolute, with scheme
    :param secure: whether it is ``https``
    :param host: without brackets
    :param port: always a number
    """

    uri: str = field(repr=False)  # Its query may hold a token.
    secure: bool
    host: str
    port: int


def number(low: int, high: int) -> Callable[[str], int]:
    """Make a parser of whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise ValueError
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return parse


def milliseconds(low: int, high: int) -> Callable[[str], float]:
    """Make a parser of milliseconds from ``low`` to ``high`` that returns seconds."""
    whole = number(low, high)
    return lambda text: whole(text) / 1000


def choice(*words: str) -> Callable[[str], str]:
    """Make a parser of one of these words, case-insensitive."""

    def parse(text: str) -> str:
        for word in words:
            if text.lower() == word.lower():
                return word
        raise ValueError

    return parse


def _scheme(text: str) -> str | None:
    """:returns: the scheme in lower case; :data:`None` if the text begins with the host"""
    match = _SCHEME.match(text)
    return None if match is None else match[1].lower()


def parse_api_uri(text: str) -> ApiUri:
    """Read ``API_URI``.

    :raises ValueError: if no HTTP request can be sent there
    """
    if not _VISIBLE.fullmatch(text):
        raise ValueError
    whole = f"http://{text}" if _scheme(text) is None else text
    parts = urlsplit(whole)
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or "#" in whole:
        raise ValueError
    if parts.netloc.endswith(":"):
        # Twisted's Agent would treat the colon as part of the name.
        raise ValueError
    port = parts.port
    if port == 0:
        raise ValueError
    if not (isIPAddress(parts.hostname) or isIPv6Address(parts.hostname)):
        # Fails here for an impossible host name (with an underscore, or a label of 64 characters), not at each call.
        _idnaBytes(parts.hostname)
    secure = scheme == "https"
    path = parts.path or "/"
    uri = f"{scheme}://{parts.netloc}{path}" + (f"?{parts.query}" if parts.query else "")
    return ApiUri(uri, secure, parts.hostname, port or (443 if secure else 80))


def without_secrets(text: str) -> str:
    """:returns: a (perhaps malformed) URI without user, password, query and fragment, which may be secrets"""
    scheme, rest = _HTTP.fullmatch(text).groups()  # type: ignore[union-attr]  # matches anything
    _, at, place = rest.rpartition("@")
    place = _BEHIND_THE_PATH.sub(r"\1…", place)
    return f"{scheme or ''}{'…@' if at else ''}{place}"


def hostname(text: str) -> str:
    """Read ``WS_HOSTNAME``; it is kept byte for byte, except for a trailing slash."""
    if not _VISIBLE.fullmatch(text) or "?" in text or "#" in text or '"' in text or "\\" in text:
        raise ValueError
    scheme = _scheme(text)
    parts = urlsplit(f"//{text}" if scheme is None else text)  # raises ValueError for unbalanced brackets
    if not parts.netloc or scheme not in (None, "http", "https"):
        raise ValueError
    return text.removesuffix("/")


def endpoints(text: str) -> tuple[str, ...]:
    r"""Read endpoint descriptions, separated by blanks; whether they can be listened on shows later.

    A blank after a backslash is part of the description, as in Twisted.
    """
    descriptions = tuple(_DESCRIPTION.findall(text))
    kinds = ("tcp", "tcp6", "tls", "ssl", "unix", "systemd")
    for description in (place.removeprefix("haproxy:") for place in descriptions):
        if description.partition(":")[0] not in kinds:
            raise ValueError
        if description.startswith("systemd:") and "domain=UNIX" in description:
            # Twisted makes an adopted UNIX socket world-writable, and unlinks it on stop.
            raise ValueError
    return descriptions


def field_lines(text: str) -> tuple[tuple[str, str], ...]:
    """Read lines of ``Name: value``."""
    lines = []
    for line in text.splitlines():
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon or not _TOKEN.fullmatch(name) or is_reserved(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError
        lines.append((name, value))
    return tuple(lines)


def field_names(text: str) -> tuple[str, ...]:
    """Read header names, separated by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if len({name.lower() for name in names}) != len(names):
        raise ValueError
    for name in names:
        if not _TOKEN.fullmatch(name) or is_reserved(name):
            raise ValueError
    return names


def statuses(text: str) -> frozenset[int]:
    """Read HTTP statuses of failure, except 401, which has a meaning of its own."""
    words = text.split()
    if not all(re.fullmatch(r"[45][0-9][0-9]", word) and word != "401" for word in words):
        raise ValueError
    return frozenset(map(int, words))


def media_type(text: str) -> str:
    """Read a media type (RFC 9110 §8.3.1)."""
    if not text or not _FIELD_VALUE.fullmatch(text) or not re.match(r"[\w.+-]+/[\w.+-]+\s*(;|$)", text, re.ASCII):
        raise ValueError
    return text


def folder(text: str) -> Path:
    """Read the path of a folder; whether it can be used shows later."""
    path = Path(text)
    if not path.is_absolute() or not text.isprintable():
        raise ValueError
    return path


def words(least: int) -> Callable[[str], tuple[bytes, ...]]:
    """Make a parser of secrets in visible ASCII, separated by blanks.

    :param least: the minimum length of each
    """

    def parse(text: str) -> tuple[bytes, ...]:
        found = tuple(text.split())
        if not found or not all(_VISIBLE.fullmatch(word) and len(word) >= least for word in found):
            raise ValueError
        return tuple(word.encode("ascii") for word in found)

    return parse


def file_text(path: str) -> str:
    """Read a file with the value of a setting.

    :raises ValueError: says why it cannot be read, without its content
    """
    try:
        with Path(path).open("rb") as file:
            # Bounded, as it may by mistake be a huge file, or a device.
            content = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise ValueError(getattr(error, "strerror", None) or "no path") from None
    if len(content) > _MAX_FILE:
        raise ValueError(f"over {_MAX_FILE} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if not text.strip():
        raise ValueError("empty")
    return text.removesuffix("\n").removesuffix("\r")
