"""The settings: one table of names, defaults and rules, and the small frozen values that the parts are given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsaas import origins
from wsaas.agent import ApiTrust
from wsaas.errors import SettingsError
from wsaas.origins import Origins, parse_origins
from wsaas.values import (
    ApiUri,
    choice,
    endpoints,
    field_lines,
    field_names,
    file_text,
    folder,
    hostname,
    media_type,
    milliseconds,
    number,
    parse_api_uri,
    pem,
    statuses,
    words,
)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API's side is told. Times in seconds, sizes in bytes. No secret shows in its ``repr``."""

    timeout: float
    retry_for: float
    retry_status: frozenset[int]
    delete_for: float
    max_requests: int
    max_body: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    text_type: str
    ca: bytes | None
    certificate: bytes | None = field(repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The bounds of one connection. Times in seconds, sizes in bytes."""

    timeout: float
    max_message: int
    max_buffer: int


@dataclass(frozen=True, slots=True)
class HandshakeSettings:
    """What a handshake must be like and what of it the API gets to see."""

    origins: Origins
    forward_headers: tuple[str, ...]
    compression: bool


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Endpoint descriptions; no ``clients`` means the default port, no ``pushes`` that clients and pushes share one."""

    clients: tuple[str, ...]
    pushes: tuple[str, ...]
    admin: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much is logged and in what form."""

    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it, for :mod:`wsaas.tap` to hand out. No ``api_uri`` means the embedded demo API."""

    hostname: str
    max_connections: int | None
    max_per_address: int
    trust_proxy: int
    drain_timeout: float
    fast: bool
    state_dir: Path | None
    api_uri: ApiUri | None
    api: ApiSettings
    connection: ConnectionSettings
    handshake: HandshakeSettings
    listen: ListenSettings
    log: LogSettings
    push_tokens: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table.

    :param name: the environment variable
    :param default: as text; :data:`None` means "not set"
    :param parse: from text to value, raising :class:`ValueError`
    :param allowed: the rest of the sentence "allowed: …"
    :param summary: for ``--help``
    :param secret: whether it is no option, because everybody sees those of a process, and never shown
    :param in_file: whether ``<NAME>_FILE`` may name a file with the value in its place
    """

    name: str
    default: str | None
    parse: Callable[[str], object]
    allowed: str
    summary: str
    secret: bool = False
    in_file: bool = False

    @property
    def option(self) -> str:
        """The option of the twistd plugin: ``API_URI`` is ``--api-uri``."""
        return self.name.lower().replace("_", "-")


def _authorities(text: str) -> bytes:
    """Read ``API_CA``."""
    content = pem(text)
    ApiTrust(content, None)
    return content


def _certificate(text: str) -> bytes:
    """Read ``API_CERT``."""
    content = pem(text)
    ApiTrust(None, content)
    return content


#: Parsers whose errors say more than what is allowed.
_TELLING = (_authorities, _certificate, parse_origins)

_ENDPOINTS_ALLOWED = (
    "Twisted endpoint descriptions separated by blanks, of tcp: tcp6: tls: ssl: unix: systemd:, with "
    "haproxy: before them or not (no UNIX socket from systemd), such as tcp:8080 or tls:/etc/wsaas/tls:443"
)
_NOT_RESERVED = "none of Ws-*, X-Forwarded-*, Content-*, Host, Expect, User-Agent, or of one hop"
_DAY = 86_400_000

#: Every setting, in the order in which ``--help`` and docs/settings.rst show them.
SETTINGS: tuple[Setting, ...] = (
    Setting(
        "API_URI",
        None,
        parse_api_uri,
        "host and path, http:// or https:// before it or not, no user and no fragment",
        "where callbacks go; required, or --demo",
    ),
    Setting(
        "WS_HOSTNAME",
        "http://localhost:8080",
        hostname,
        "host and optional path without query, with http:// or https:// before it or not",
        "first part of every ws_uri; must lead to this very process",
    ),
    Setting(
        "WS_LISTEN",
        None,
        endpoints,
        _ENDPOINTS_ALLOWED,
        "endpoints for clients [default: port 8080, IPv4 and IPv6]",
    ),
    Setting(
        "PUSH_LISTEN",
        None,
        endpoints,
        _ENDPOINTS_ALLOWED,
        "endpoints for pushes only; without it pushes arrive on WS_LISTEN",
    ),
    Setting(
        "ADMIN_LISTEN",
        None,
        endpoints,
        _ENDPOINTS_ALLOWED,
        "endpoints of /healthz, /readyz and /metrics [default: none]",
    ),
    Setting(
        "WS_TIMEOUT",
        "30000",
        milliseconds(0, _DAY),
        "milliseconds, 0 to 86400000; 0 is never",
        "a client silent for so long is dead, in ms",
    ),
    Setting(
        "API_TIMEOUT",
        "30000",
        milliseconds(1, _DAY),
        "milliseconds, 1 to 86400000",
        "one callback, connecting and the answer's body included, in ms",
    ),
    Setting(
        "API_RETRY_FOR",
        "60000",
        milliseconds(0, _DAY),
        "milliseconds, 0 to 86400000; 0 is one attempt",
        "a message that the API does not take is tried again for so long, in ms",
    ),
    Setting(
        "API_RETRY_STATUS",
        "408 425 429 502 503 504",
        statuses,
        "HTTP statuses from 400 to 599 without 401, separated by blanks",
        "answers to a message upon which it is tried again",
    ),
    Setting(
        "API_DELETE_FOR",
        "86400000",
        milliseconds(0, 7 * _DAY),
        "milliseconds, 0 to 604800000; 0 is one attempt",
        "a DELETE that the API does not take is tried again for so long, in ms",
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
        _authorities,
        "a readable PEM file of certificates",
        "whom to trust for an https API [default: the system's roots]",
    ),
    Setting(
        "API_CERT",
        None,
        _certificate,
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
        "header names separated by commas, each once, Cookie only with WS_ORIGINS set; " + _NOT_RESERVED,
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
    Setting("WS_ORIGINS", "*", parse_origins, origins.ALLOWED, "web pages that may connect"),
    Setting(
        "WS_MAX_MESSAGE",
        "131072",
        number(1, 1 << 30),
        "bytes, 1 to 1073741824",
        "the longest message, in bytes",
    ),
    Setting(
        "WS_MAX_BUFFER",
        "1048576",
        number(2, 1 << 31),
        "bytes, at least twice WS_MAX_MESSAGE, at most 2147483648",
        "what waits for a client, and for the API, at most, in bytes",
    ),
    Setting(
        "WS_MAX_CONNECTIONS",
        None,
        number(1, 1 << 24),
        "a number from 1 to 16777216",
        "clients connected at once [default: as many as there may be open files, less a reserve]",
    ),
    Setting(
        "WS_MAX_PER_ADDRESS",
        "0",
        number(0, 1 << 24),
        "a number from 0 to 16777216; 0 is no limit",
        "clients connected at once from one IPv4 address, or one IPv6 network of 64 bits",
    ),
    Setting("WS_COMPRESSION", "off", choice("off", "on"), "off, on", "permessage-deflate (RFC 7692)"),
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
        "a private folder for who is still owed a DELETE; without it that ends with the process",
    ),
    Setting(
        "DRAIN_TIMEOUT",
        "10000",
        milliseconds(0, 3_600_000),
        "milliseconds, 0 to 3600000",
        "from SIGTERM to exit at most, in ms",
    ),
    Setting(
        "FAST_LANES",
        "on",
        choice("on", "off"),
        "on, off",
        "short ways past twisted.web for plain requests; off if in doubt about one",
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


#: What an error shows in place of a secret.
_HIDDEN = "…"


def _names_only(lines: str) -> str:
    """:returns: header lines without their values, which may be secrets; of what is no such line, nothing"""
    return re.sub(
        r"(?m)^(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?)?[^\n]+$", lambda line: f"{line[1]}: …" if line[1] else "…", lines
    )


def _read_files(values: dict[str, str]) -> dict[str, str]:
    """Put what files hold in the place of the settings that name them.

    :returns: the path that each setting came from
    """
    paths = {}
    for setting in SETTINGS:
        source = f"{setting.name}_FILE"
        if not setting.in_file or source not in values:
            continue
        path = paths[setting.name] = values[source]
        if setting.name in values:
            raise SettingsError(source, path, f"one of {setting.name} and {source}, not both")
        try:
            values[setting.name] = file_text(path)
        except ValueError as error:
            raise SettingsError(source, path, f"a readable file with {setting.allowed} ({error})") from None
    return paths


def _parse_all(values: Mapping[str, str], paths: Mapping[str, str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for setting in SETTINGS:
        text = values.get(setting.name, setting.default)
        if text is None:
            parsed[setting.name] = None
            continue
        try:
            parsed[setting.name] = setting.parse(text)
        except ValueError as error:
            if setting.name in paths:
                source = f"{setting.name}_FILE"
                raise SettingsError(source, paths[setting.name], f"a file with {setting.allowed}") from None
            if setting.secret:
                raise SettingsError(setting.name, _HIDDEN, setting.allowed) from None
            said = f" ({error})" if setting.parse in _TELLING and str(error) else ""
            shown = _names_only(text) if setting.parse is field_lines else text
            raise SettingsError(setting.name, shown, setting.allowed + said) from error
    return parsed


def _check_together(values: Mapping[str, str], parsed: Mapping[str, Any], demo: bool) -> None:
    if demo and parsed["PUSH_TOKEN"] is not None:
        raise SettingsError("PUSH_TOKEN", _HIDDEN, "nothing with --demo, whose pages push without a token")
    if "PUSH_LISTEN" in values and "WS_HOSTNAME" not in values:
        raise SettingsError("WS_HOSTNAME", "", "with PUSH_LISTEN it must be given, and lead there")
    if parsed["WS_MAX_BUFFER"] < 2 * parsed["WS_MAX_MESSAGE"]:
        allowed = f"at least twice WS_MAX_MESSAGE, which is {parsed['WS_MAX_MESSAGE']}"
        raise SettingsError("WS_MAX_BUFFER", str(parsed["WS_MAX_BUFFER"]), allowed)
    if "cookie" in (name.lower() for name in parsed["FORWARD_HEADERS"]) and parsed["WS_ORIGINS"].everyone:
        allowed = "Cookie only with WS_ORIGINS set, or any web page could connect in its visitor's name"
        raise SettingsError("FORWARD_HEADERS", values["FORWARD_HEADERS"], allowed)


def read_settings(given: Mapping[str, str], *, demo: bool = False) -> Settings:
    """Check what was given and sort it by who needs it.

    :param given: settings by name, options and environment already merged; a blank value counts as not given
    :param demo: whether an embedded API stands in for ``API_URI``
    :raises SettingsError: for the first setting that cannot be used
    """
    values = {name: text for name, text in given.items() if text.strip()}
    if demo == ("API_URI" in values):
        allowed = "host and path of your API, or --demo in its place"
        raise SettingsError("API_URI", values.get("API_URI", ""), allowed)
    parsed = _parse_all(values, _read_files(values))
    _check_together(values, parsed, demo)
    return Settings(
        hostname=parsed["WS_HOSTNAME"],
        max_connections=parsed["WS_MAX_CONNECTIONS"],
        max_per_address=parsed["WS_MAX_PER_ADDRESS"],
        trust_proxy=parsed["TRUST_PROXY"],
        drain_timeout=parsed["DRAIN_TIMEOUT"],
        fast=parsed["FAST_LANES"] == "on",
        state_dir=parsed["STATE_DIR"],
        api_uri=parsed["API_URI"],
        api=ApiSettings(
            timeout=parsed["API_TIMEOUT"],
            retry_for=parsed["API_RETRY_FOR"],
            retry_status=parsed["API_RETRY_STATUS"],
            delete_for=parsed["API_DELETE_FOR"],
            max_requests=parsed["API_MAX_REQUESTS"],
            max_body=parsed["WS_MAX_MESSAGE"],
            headers=parsed["API_HEADERS"],
            text_type=parsed["API_TEXT_TYPE"],
            ca=parsed["API_CA"],
            certificate=parsed["API_CERT"],
            secrets=parsed["API_SECRET"] or (),
        ),
        connection=ConnectionSettings(parsed["WS_TIMEOUT"], parsed["WS_MAX_MESSAGE"], parsed["WS_MAX_BUFFER"]),
        handshake=HandshakeSettings(parsed["WS_ORIGINS"], parsed["FORWARD_HEADERS"], parsed["WS_COMPRESSION"] == "on"),
        listen=ListenSettings(parsed["WS_LISTEN"] or (), parsed["PUSH_LISTEN"] or (), parsed["ADMIN_LISTEN"] or ()),
        log=LogSettings(parsed["LOG_LEVEL"], parsed["LOG_FORMAT"]),
        push_tokens=parsed["PUSH_TOKEN"] or (),
    )
