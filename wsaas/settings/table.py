"""The table of settings: names, defaults and rules, in the order of ``--help``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsaas.net.client_tls import read_authorities, read_certificate
from wsaas.settings.values import (
    choice,
    duration,
    endpoints,
    field_lines,
    field_names,
    folder,
    health_path,
    hostname,
    media_type,
    number,
    parse_api_uri,
    statuses,
    words,
)
from wsaas.websocket import origins
from wsaas.websocket.origins import parse_origins


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    :param name: the environment variable
    :param default: as text; :data:`None` means "not set"
    :param parse: converts text to a value; raises :class:`ValueError`
    :param allowed: what is allowed, as the rest of the sentence "allowed: …"
    :param summary: for ``--help``
    :param secret: never shown, and not an option, as all users of the machine see a process's options
    :param in_file: whether ``<NAME>_FILE`` may name a file with the value
    :param is_duration: whether it is a time, which may have a unit
    """

    name: str
    default: str | None
    parse: Callable[[str], object]
    allowed: str
    summary: str
    secret: bool = False
    in_file: bool = False
    is_duration: bool = False

    @property
    def option(self) -> str:
        """The name of the twistd option, without dashes in front: ``api-uri`` for ``API_URI``."""
        return self.name.lower().replace("_", "-")


def _file(read: Callable[[Path], object]) -> Callable[[str], Path]:
    """Make a parser of paths that checks that the file can be read."""

    def parse(text: str) -> Path:
        path = Path(text).absolute()  # a daemon may change its working directory before a reload
        read(path)
        return path

    return parse


def _endpoints(name: str, summary: str) -> Setting:
    """:returns: a setting that is a list of endpoints"""
    allowed = (
        "Twisted endpoint descriptions separated by blanks, of tcp: tcp6: tls: ssl: unix: systemd:, with haproxy: "
        "before them or not (no UNIX socket from systemd), such as tcp:8080 or tls:/etc/wsaas/tls:443"
    )
    return Setting(name, None, endpoints, allowed, summary)


def _duration(name: str, default: str, bounds: tuple[int, int], allowed: str, summary: str) -> Setting:
    """:returns: a setting that is a duration

    :param bounds: in milliseconds
    :param allowed: the same in words, and what 0 means
    """
    allowed = f"{allowed}; such as 30s, 500ms, 5m or 2h; a number without a unit is milliseconds"
    return Setting(name, default, duration(*bounds), allowed, summary, is_duration=True)


_NOT_RESERVED = "none of Ws-*, Webhook-*, X-Forwarded-*, Content-*, Host, Expect, User-Agent, or of one hop"
_DAY = 86_400_000

#: Every setting, in the order in which ``--help`` and docs/settings.rst show them.
SETTINGS: tuple[Setting, ...] = (
    Setting(
        "API_URI",
        None,
        parse_api_uri,
        "host, port and path, http:// or https:// before it or not, or unix:/run/api.sock:/path; no user, no fragment",
        "where callbacks go; required, or --demo",
    ),
    Setting(
        "WS_HOSTNAME",
        None,
        hostname,
        "host, port and perhaps a path, http:// or https:// before it or not, without query; no segment of the path is "
        "groups, users, all, batch or members, or has the shape of a key",
        "first part of every ws_uri; must lead to this very process [default: localhost, and scheme and port of the "
        "first endpoint for pushes]",
    ),
    _endpoints("WS_LISTEN", "endpoints for clients [default: port 8080, IPv4 and IPv6]"),
    _endpoints("PUSH_LISTEN", "endpoints for pushes only; without it pushes arrive on WS_LISTEN"),
    _endpoints("ADMIN_LISTEN", "endpoints of /healthz, /readyz and /metrics [default: none]"),
    _duration(
        "WS_TIMEOUT",
        "30000",
        (0, _DAY),
        "0 to 24h, 0 is never",
        "a client silent for so long is dead",
    ),
    _duration(
        "API_TIMEOUT",
        "30000",
        (1, _DAY),
        "1ms to 24h",
        "one callback, connecting and the answer's body included",
    ),
    _duration(
        "API_RETRY_FOR",
        "60000",
        (0, _DAY),
        "0 to 24h, 0 is one attempt",
        "a message that the API does not take is tried again for so long",
    ),
    Setting(
        "API_RETRY_STATUS",
        "408 425 429 502 503 504",
        statuses,
        "HTTP statuses from 400 to 599 without 401, separated by blanks",
        "answers to a message upon which it is tried again",
    ),
    _duration(
        "API_DELETE_FOR",
        "86400000",
        (0, 7 * _DAY),
        "0 to 7d, 0 is one attempt",
        "a DELETE that the API does not take is tried again for so long",
    ),
    Setting(
        "API_MAX_REQUESTS",
        "256",
        number(1, 10_000),
        "a number from 1 to 10000",
        "callbacks on the wire at once",
    ),
    Setting(
        "API_SECRET",
        None,
        words(16),
        "secrets of at least 16 visible ASCII characters, separated by blanks",
        "secrets that callbacks are signed with",
        secret=True,
        in_file=True,
    ),
    Setting(
        "API_WEBHOOK_SIGNATURE",
        "off",
        choice("off", "on"),
        "off, on; on with API_SECRET, each of which is base64 of at least 24 bytes, with whsec_ before it or not",
        "callbacks are signed by Standard Webhooks, too",
    ),
    Setting(
        "API_HEADERS",
        "",
        field_lines,
        "lines of Name: value in ASCII; " + _NOT_RESERVED,
        "fixed headers of every callback, one a line",
        in_file=True,
    ),
    Setting(
        "API_CA",
        None,
        _file(read_authorities),
        "a readable PEM file of certificates",
        "trusted authorities of an https API [default: the system's roots]",
    ),
    Setting(
        "API_CERT",
        None,
        _file(read_certificate),
        "a readable PEM file with a certificate and its private key",
        "the certificate shown to an https API",
    ),
    Setting(
        "API_TEXT_TYPE",
        "text/plain; charset=utf-8",
        media_type,
        "a media type",
        "Content-Type of text messages",
    ),
    Setting(
        "FORWARD_HEADERS",
        "Authorization, Sec-WebSocket-Protocol",
        field_names,
        "header names separated by commas, each once, Cookie only with WS_ORIGINS set, X-Forwarded-* only with "
        "TRUST_PROXY set; none of Ws-*, Webhook-*, X-Forwarded-For, X-Forwarded-Proto, Content-*, Host, Expect, "
        "User-Agent, or of one hop",
        "headers of the handshake that callbacks repeat",
    ),
    Setting(
        "PUSH_TOKEN",
        None,
        words(1),
        "tokens of visible ASCII characters, separated by blanks",
        "tokens, of which every push has to carry one",
        secret=True,
        in_file=True,
    ),
    Setting(
        "PUBLISH_TOKEN",
        None,
        words(1),
        "tokens of visible ASCII characters, separated by blanks",
        "tokens that open what is by name (groups, users, all, batches), and pushes too",
        secret=True,
        in_file=True,
    ),
    Setting("WS_ORIGINS", "*", parse_origins, origins.ALLOWED, "web pages that may connect", in_file=True),
    Setting(
        "WS_MAX_MESSAGE",
        "131072",
        number(64, 1 << 30),
        'bytes, 64 to 1073741824; an answer such as {"code": "OK"} has to fit',
        "the longest message, in bytes",
    ),
    Setting(
        "WS_MAX_BUFFER",
        "1048576",
        number(128, 1 << 31),
        "bytes, at least twice WS_MAX_MESSAGE, at most 2147483648",
        "what waits for a client, and for the API, at most, in bytes",
    ),
    Setting(
        "WS_MAX_TARGET",
        "2048",
        number(256, 1 << 14),
        "bytes, 256 to 16384",
        "the longest path and query of a handshake, in bytes",
    ),
    Setting(
        "WS_MAX_HEADERS",
        "6144",
        number(1024, 1 << 15),
        "bytes, 1024 to 32768",
        "forwarded headers of a handshake at most, in bytes",
    ),
    Setting(
        "WS_MAX_CONNECTIONS",
        None,
        number(1, 1 << 24),
        "a number from 1 to 16777216",
        "clients connected at once [default: as many as there may be open files, less a reserve]",
        in_file=True,
    ),
    Setting(
        "WS_MAX_PER_ADDRESS",
        "0",
        number(0, 1 << 24),
        "a number from 0 to 16777216; 0 is no limit",
        "clients connected at once from one IPv4 address, or one IPv6 network of 64 bits",
    ),
    Setting(
        "WS_MAX_GROUPS",
        "100",
        number(1, 1000),
        "a number from 1 to 1000",
        "groups that one client may be in at once",
    ),
    Setting(
        "PUSH_MAX_BATCH",
        "1048576",
        number(1024, 1 << 24),
        "bytes, 1024 to 16777216",
        "the longest batch, in bytes",
    ),
    Setting(
        "TRACE",
        "off",
        choice("off", "on"),
        "off, on; with on, no traceparent in API_HEADERS",
        "a traceparent for each callback (W3C Trace Context)",
    ),
    Setting("WS_COMPRESSION", "off", choice("off", "on"), "off, on", "permessage-deflate (RFC 7692)"),
    Setting(
        "WS_HEALTH_PATH",
        "/healthz",
        health_path,
        "a path, such as /healthz, without query, at which nothing is pushed or published (its end is not a key, all, "
        "batch, groups/… or users/…); or off",
        "where load balancers ask, on WS_LISTEN, whether clients are let in",
    ),
    Setting(
        "TRUST_PROXY",
        "0",
        number(0, 100),
        "a number from 0 to 100",
        "how many proxies in front are believed for X-Forwarded-For and X-Forwarded-Proto",
    ),
    Setting(
        "STATE_DIR",
        None,
        folder,
        "the absolute path of a folder",
        "a private folder for DELETEs that are still pending; without it they end with the process",
    ),
    _duration(
        "DRAIN_TIMEOUT",
        "10000",
        (0, 3_600_000),
        "0 to 1h",
        "from SIGTERM to exit at most",
    ),
    Setting(
        "LOG_LEVEL",
        "INFO",
        choice("ERROR", "WARN", "INFO", "DEBUG"),
        "ERROR, WARN, INFO, DEBUG",
        "what is logged at least",
    ),
    Setting("LOG_FORMAT", "text", choice("text", "json"), "text, json", "lines for people or for programs"),
)
