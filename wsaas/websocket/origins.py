"""Which web pages may connect: ``WS_ORIGINS`` against a handshake's ``Origin`` (RFC 6454 §7, RFC 6455 §10.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wsaas.logs import without_keys

#: How many matching origins are cached. With a ``*`` in a pattern there may be any number.
_MAX_KNOWN = 256
#: Characters of one that is refused which the log shows.
_MAX_SHOWN = 100
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SCHEME = r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
#: For %s, what else is in no host.
_PLACE = r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]%s]+)(?::(?P<port>[0-9]{1,5}))?"
_ORIGIN = re.compile(_SCHEME + _PLACE % "*,", re.ASCII)
_PATTERN = re.compile(_SCHEME + _PLACE % ",%", re.ASCII)
_HOST = re.compile(_PLACE % "", re.ASCII)

ALLOWED = "* alone, or scheme://host[:port] (a * stands for one label of the host), same, null; separated by blanks"


@dataclass(frozen=True, slots=True)
class _Pattern:
    scheme: str
    labels: tuple[str, ...]
    port: int | None

    def matches(self, scheme: str, host: str, port: int | None) -> bool:
        if scheme != self.scheme or port != self.port:
            return False
        labels = host.split(".")
        return len(labels) == len(self.labels) and all(
            mine in ("*", theirs) and theirs for mine, theirs in zip(self.labels, labels, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins that may connect.

    :param everyone: any origin is allowed (``*``)
    :param same: the handshake's own host is allowed
    :param null: the opaque origin ``null`` is allowed
    :param patterns: the listed origins
    """

    everyone: bool = True
    same: bool = False
    null: bool = False
    patterns: tuple[_Pattern, ...] = ()
    #: Origins that matched a pattern: most handshakes come from the same few pages.
    _known: set[str] = field(default_factory=set, compare=False, repr=False)

    def allows(self, origin: str | None, host: str) -> bool:
        """Check whether a page may connect.

        :param origin: the handshake's ``Origin``; without one it comes from no browser, and is allowed
        :param host: the handshake's ``Host``
        """
        if self.everyone or origin is None or origin in self._known:
            return True
        if origin == "null":
            return self.null
        match = _ORIGIN.fullmatch(origin.lower())
        if match is None:
            return False
        scheme, name = match["scheme"], match["host"]
        port = _port(match["port"], scheme)
        if self.same and _authority(host, scheme) == (name, port):
            return True
        if not any(pattern.matches(scheme, name, port) for pattern in self.patterns):
            return False
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add(origin)
        return True


def shown_origin(origin: bytes | None) -> str:
    """:returns: a refused Origin for the log, if it is one: whatever else a client puts there may be a secret"""
    text = (origin or b"").decode("latin-1")
    known = text == "null" or (_ORIGIN.fullmatch(text.lower()) and len(text) <= _MAX_SHOWN)
    return without_keys(text) if known else "(malformed)"


def _port(text: str | None, scheme: str) -> int | None:
    return _DEFAULT_PORTS.get(scheme) if text is None else int(text)


def _authority(host: str, scheme: str) -> tuple[str, int | None] | None:
    match = _HOST.fullmatch(host.lower())
    return None if match is None else (match["host"], _port(match["port"], scheme))


def parse_origins(text: str) -> Origins:
    """Read the value of ``WS_ORIGINS``.

    :raises ValueError: if a word of it is no origin
    """
    words = text.lower().split()
    if not words:
        raise ValueError("no origin")
    if "*" in words:
        if len(words) > 1:
            raise ValueError("* makes the other words useless")
        return Origins()
    patterns = []
    for word in words:
        if word in ("same", "null"):
            continue
        if not word.isascii():
            raise ValueError(f"{word!r} is no origin as browsers send it, which is in ASCII: xn--…")
        match = _PATTERN.fullmatch(word)
        labels = () if match is None else tuple(match["host"].split("."))
        if match is None or any("*" in label and label != "*" for label in labels) or "" in labels:
            raise ValueError(f"{word!r} is no origin")
        if match["port"] is not None and not 0 < int(match["port"]) < 65536:
            raise ValueError(f"{word!r} is no origin: there is no such port")
        patterns.append(_Pattern(match["scheme"], labels, _port(match["port"], match["scheme"])))
    return Origins(False, "same" in words, "null" in words, tuple(patterns))
