"""Parsers of the values of settings: each converts text to a value, or raises :class:`ValueError`.

The text of the exception says which rule the value breaks. It repeats nothing of a value that may be a secret.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from twisted.internet.abstract import isIPAddress, isIPv6Address

from wsaas.connections.identity import is_key
from wsaas.net.host_names import check_name
from wsaas.pushes.paths import RESERVED, Form, read_path

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
#: Visible ASCII, but for what begins a query or a fragment.
_PATH = re.compile(r"/[!-\"$->@-~]*")
_DESCRIPTION = re.compile(r"(?:\\.|\S)+", re.DOTALL)
_FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*")
#: The most bytes of a file with a secret.
_MAX_FILE = 65536
_SCHEME = re.compile(r"([^:/?#]*)://")
_HTTP = re.compile(r"(https?://)?(.*)", re.IGNORECASE | re.DOTALL)
_BEHIND_THE_PATH = re.compile(r"([?#]).*", re.DOTALL)
#: Milliseconds of each unit of a duration.
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)?")
#: What a description begins with: text that was meant for another setting.
_KINDS = ("tcp", "tcp6", "tls", "ssl", "unix", "systemd")

#: What may stand before a secret of Standard Webhooks, and the fewest bytes of its key.
_WEBHOOK_PREFIX, _LEAST_WEBHOOK_KEY = b"whsec_", 24

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
_RESERVED_PREFIXES = ("ws-", "webhook-", "x-forwarded-", "content-")


#: Of the headers of proxies, those that the gateway reads and sets itself.
_OF_PROXIES = "x-forwarded-"
_OWN_OF_PROXIES = frozenset({"x-forwarded-for", "x-forwarded-proto"})


def is_reserved(name: str) -> bool:
    """:returns: whether a header belongs to the gateway, so that neither a client nor an operator may set it

    Underscores count as dashes: WSGI and CGI cannot tell ``Ws_Uri`` from ``Ws-Uri``.
    """
    plain = name.lower().replace("_", "-")
    return plain in _RESERVED or plain.startswith(_RESERVED_PREFIXES)


def is_of_proxies(name: str) -> bool:
    """:returns: whether a header is one that only a trusted proxy may set, such as ``X-Forwarded-User``"""
    return name.lower().startswith(_OF_PROXIES)


def is_never_forwarded(name: str) -> bool:
    """:returns: whether FORWARD_HEADERS may not name a header, with trusted proxies or without"""
    # Not with underscores: a proxy that sets X-Forwarded-User does not replace X_Forwarded_User.
    return is_reserved(name) and not (is_of_proxies(name) and "_" not in name and name.lower() not in _OWN_OF_PROXIES)


@dataclass(frozen=True, slots=True)
class ApiUri:
    """Where callbacks go.

    :param uri: absolute, with scheme
    :param host: without brackets
    """

    uri: str = field(repr=False)  # Its query may hold a token.
    host: str


def number(low: int, high: int) -> Callable[[str], int]:
    """Make a parser of whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()):
            raise ValueError("not a whole number")
        if len(text) > 12:
            raise ValueError(f"it is over {high}")
        return _bounded(int(text), low, high, "")

    return parse


def _bounded(value: int, low: int, high: int, unit: str) -> int:
    if value < low:
        raise ValueError(f"it is below {low}{unit}")
    if value > high:
        raise ValueError(f"it is over {high}{unit}")
    return value


def duration(low: int, high: int) -> Callable[[str], float]:
    """Make a parser of durations from ``low`` to ``high`` milliseconds that returns seconds.

    A number with a unit, such as ``30s``, or milliseconds without one.
    """

    def parse(text: str) -> float:
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError("not a whole number with one of the units ms, s, m, h, d behind it, or without a unit")
        return _bounded(int(match[1]) * _UNITS[match[2] or "ms"], low, high, "ms") / 1000

    return parse


def may_mean_seconds(text: str) -> bool:
    """:returns: whether a duration is a number without a unit that is nearly surely meant as seconds"""
    return text.isascii() and text.isdigit() and len(text) < 4 and int(text) > 0


def choice(*words: str) -> Callable[[str], str]:
    """Make a parser of one of these words, case-insensitive."""

    def parse(text: str) -> str:
        for word in words:
            if text.lower() == word.lower():
                return word
        raise ValueError("none of these words")

    return parse


def health_path(text: str) -> bytes | None:
    """Parse ``WS_HEALTH_PATH``.

    :returns: :data:`None` for ``off``
    """
    if text.lower() == "off":
        return None
    if not _PATH.fullmatch(text):
        raise ValueError("not a path in visible ASCII that begins with /")
    if read_path(text.encode("ascii")).form is not Form.NOTHING:
        raise ValueError("a request for it would be taken for a push")
    return text.encode("ascii")


def _check_visible(text: str) -> None:
    """Refuse characters that can be in no URL."""
    if _VISIBLE.fullmatch(text):
        return
    if not text.strip():
        raise ValueError("it is empty")
    (odd, *_) = (each for each in text if not _VISIBLE.fullmatch(each))
    if odd.isspace():
        raise ValueError("there is a blank or a line break in it")
    if odd.isascii():
        raise ValueError("there is a control character in it")
    raise ValueError(f"{odd!r} is not ASCII: such a host name is written xn--…, and in a path or query it is %…")


def _split_url(text: str) -> SplitResult:
    """Split a URL that begins with the scheme or the host, and check its scheme, host and port."""
    _check_visible(text)
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        raise ValueError("the scheme is neither http:// nor https://")
    try:
        parts = urlsplit(text if scheme else f"http://{text}")
    except ValueError:
        raise ValueError(
            "the brackets of an IPv6 address are not in pairs, or there is no such address in them"
        ) from None
    _, _, place = parts.netloc.rpartition("@")
    # Not parts.port: its error repeats what may be a part of a password.
    port = place.rpartition("]")[2].partition(":")[2] if "]" in place else place.partition(":")[2]
    if not place or not parts.hostname or place.startswith(":"):
        raise ValueError("there is no host in it")
    if place.count(":") > 1 and "]" not in place:
        raise ValueError("an IPv6 address needs brackets: [::1]")
    if place.endswith(":"):
        # Twisted's Agent would treat the colon as part of the name.
        raise ValueError("there is no port behind the colon")
    if port and not (port.isascii() and port.isdigit()):
        raise ValueError("the port is not a number")
    if port and not (len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError("there is no such port: 1 to 65535")
    return parts


def parse_api_uri(text: str) -> ApiUri:
    """Read ``API_URI``.

    :raises ValueError: if no HTTP request can be sent there
    """
    parts = _split_url(text)
    host = parts.hostname or ""
    if "#" in text:
        raise ValueError("there is a fragment in it: #…")
    if "@" in parts.netloc:
        raise ValueError("there is a user in it: …@")
    if not (isIPAddress(host) or isIPv6Address(host)):
        # An impossible name fails here, not at each call.
        check_name(host)
    uri = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    return ApiUri(uri, host)


def without_secrets(text: str) -> str:
    """:returns: a (perhaps malformed) URI without user, password, query and fragment, which may be secrets"""
    scheme, rest = _HTTP.fullmatch(text).groups()  # type: ignore[union-attr]  # matches anything
    _, at, place = rest.rpartition("@")
    place = _BEHIND_THE_PATH.sub(r"\1…", place)
    return f"{scheme or ''}{'…@' if at else ''}{place}"


def hostname(text: str) -> str:
    """Read ``WS_HOSTNAME``; it is kept byte for byte, except for a trailing slash."""
    if text.partition(":")[0] in _KINDS or text.startswith("haproxy:"):
        raise ValueError("that is an endpoint, not the start of a URL")
    _split_url(text)
    for odd, said in (("?", "a query"), ("#", "a fragment"), ('"', "a quotation mark"), ("\\", "a backslash")):
        if odd in text:
            raise ValueError(f"there is {said} in it: {odd}")
    for segment in text.rpartition("://")[2].removesuffix("/").split("/")[1:]:
        if segment in RESERVED or is_key(segment):
            raise ValueError("a segment of its path has a meaning of its own in what is called there")
    return text.removesuffix("/")


def endpoints(text: str) -> tuple[str, ...]:
    r"""Read endpoint descriptions, separated by blanks; whether they can be listened on shows later.

    A blank after a backslash is part of the description, as in Twisted.
    """
    descriptions = tuple(_DESCRIPTION.findall(text))
    for description in (place.removeprefix("haproxy:") for place in descriptions):
        kind = description.partition(":")[0]
        if kind.isdigit():
            raise ValueError(f"a port needs its kind before it: tcp:{kind}")
        if kind not in _KINDS or kind == description:
            raise ValueError(f"{description!r} does not begin with one of these kinds and a colon")
        if description.startswith("systemd:") and "domain=UNIX" in description:
            # Twisted makes an adopted UNIX socket world-writable, and unlinks it on stop.
            raise ValueError("it is a UNIX socket of systemd's")
    return descriptions


def _check_name(name: str, own: Callable[[str], bool]) -> None:
    if not name:
        raise ValueError("there is a line or an entry without a name")
    if not _TOKEN.fullmatch(name):
        raise ValueError("a name of a header has only letters, digits and dashes")
    if own(name):
        raise ValueError(f"{name} is of the gateway or of one hop")


def field_lines(text: str) -> tuple[tuple[str, str], ...]:
    """Read lines of ``Name: value``."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon:
            raise ValueError(f"line {number} has no colon")
        _check_name(name, is_reserved)
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the value in line {number} is not printable ASCII")
        lines.append((name, value))
    return tuple(lines)


def field_names(text: str) -> tuple[str, ...]:
    """Read header names, separated by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if "*" in name:
            raise ValueError("a * stands for nothing here: each header is named")
        _check_name(name, is_never_forwarded)
    if len({name.lower() for name in names}) != len(names):
        raise ValueError("a name is there twice")
    return names


def statuses(text: str) -> frozenset[int]:
    """Read HTTP statuses of failure, except 401, which has a meaning of its own."""
    words = text.split()
    for word in words:
        if "," in word:
            raise ValueError("they are separated by blanks, not commas")
        if not re.fullmatch(r"[45][0-9][0-9]", word, re.ASCII):
            raise ValueError(f"{word!r} is no status of failure")
        if word == "401":
            raise ValueError("401 has a meaning of its own: the client's credentials no longer hold")
    return frozenset(map(int, words))


def media_type(text: str) -> str:
    """Read a media type (RFC 9110 §8.3.1)."""
    if not text or not _FIELD_VALUE.fullmatch(text) or not re.match(r"[\w.+-]+/[\w.+-]+\s*(;|$)", text, re.ASCII):
        raise ValueError("it is no type/subtype, perhaps with parameters")
    return text


def folder(text: str) -> Path:
    """Read the path of a folder; whether it can be used shows later."""
    path = Path(text)
    if not text.isprintable():
        raise ValueError("there is a character in it that cannot be printed")
    if not path.is_absolute():
        raise ValueError("it does not begin with /")
    return path


def words(least: int) -> Callable[[str], tuple[bytes, ...]]:
    """Make a parser of secrets in visible ASCII, separated by blanks.

    :param least: the minimum length of each
    """

    def parse(text: str) -> tuple[bytes, ...]:
        found = tuple(text.split())
        if not found:
            raise ValueError("there is none")
        if not all(_VISIBLE.fullmatch(word) for word in found):
            raise ValueError("a character is not visible ASCII")
        if not all(len(word) >= least for word in found):
            raise ValueError(f"one is shorter than {least} characters")
        return tuple(word.encode("ascii") for word in found)

    return parse


def webhook_key(secret: bytes) -> bytes:
    """Read a secret of ``API_SECRET`` as Standard Webhooks does: the key is what it stands for in base64.

    :raises ValueError: without showing it
    """
    try:
        key = b64decode(secret.removeprefix(_WEBHOOK_PREFIX), validate=True)
    except ValueError:
        raise ValueError("one is not base64, with its padding, with whsec_ before it or not") from None
    if len(key) < _LEAST_WEBHOOK_KEY:
        raise ValueError(f"one stands for less than {_LEAST_WEBHOOK_KEY} bytes")
    return key


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
        # A byte order mark is the editor's, not a part of the value.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if not text.strip():
        raise ValueError("empty")
    return text.removesuffix("\n").removesuffix("\r")
