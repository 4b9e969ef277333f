"""Reads the settings: parses and checks what was given, and makes each package's settings of it (protocol §5)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsaas.callbacks.settings import ApiSettings
from wsaas.connections.settings import ConnectionSettings
from wsaas.errors import SettingsError
from wsaas.logs import LogSettings
from wsaas.net.settings import ListenSettings
from wsaas.settings.table import SETTINGS, TELLING, Setting
from wsaas.settings.values import ApiUri, field_lines, file_text, hostname, parse_api_uri, without_secrets
from wsaas.websocket.settings import HandshakeSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, for :mod:`wsaas.assembly`. Without ``api_uri`` the embedded demo API is used."""

    hostname: str
    max_connections: int | None
    max_per_address: int
    trust_proxy: int
    drain_timeout: float
    state_dir: Path | None
    api_uri: ApiUri | None
    api: ApiSettings
    connection: ConnectionSettings
    handshake: HandshakeSettings
    listen: ListenSettings
    log: LogSettings
    push_tokens: tuple[bytes, ...] = field(default=(), repr=False)


#: What an error shows in place of a secret.
_HIDDEN = "…"


def _names_only(lines: str) -> str:
    """:returns: header lines without their values, which may be secrets; ``…`` for other lines"""
    return re.sub(
        r"(?m)^(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?)?[^\n]+$", lambda line: f"{line[1]}: …" if line[1] else "…", lines
    )


def _shown(setting: Setting, text: str) -> str:
    """:returns: what an error shows of a value"""
    if setting.secret or "-----BEGIN " in text:
        # The latter is the content of a file given in place of its path, perhaps with a private key.
        return _HIDDEN
    if setting.parse is field_lines:
        return _names_only(text)
    return without_secrets(text) if setting.parse in (parse_api_uri, hostname) else text


def _shown_path(path: str) -> str:
    """:returns: what an error shows of the path of a secret's file, which may by mistake be the secret itself"""
    # Path.exists() raises an exception for an impossible path.
    named = path.startswith(("/", "./", "../")) or os.path.exists(path)  # noqa: PTH110 - see above
    return path if named and "-----BEGIN " not in path else _HIDDEN


def _read_files(values: dict[str, str]) -> dict[str, str]:
    """Replace each ``<NAME>_FILE`` by the content of the file.

    :returns: the path of the file, by setting
    """
    paths = {}
    for setting in SETTINGS:
        source = f"{setting.name}_FILE"
        if not setting.in_file or source not in values:
            continue
        path = paths[setting.name] = values[source]
        if setting.name in values:
            raise SettingsError(source, _shown_path(path), f"one of {setting.name} and {source}, not both")
        try:
            values[setting.name] = file_text(path)
        except ValueError as error:
            raise SettingsError(
                source, _shown_path(path), f"a readable file with {setting.allowed} ({error})"
            ) from None
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
            said = f" ({error})" if setting.parse in TELLING and str(error) else ""
            raise SettingsError(setting.name, _shown(setting, text), setting.allowed + said) from None
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
    """Parse and check all settings.

    :param given: the settings by name, options and environment merged; a blank value counts as not given
    :param demo: whether an embedded API stands in for ``API_URI``
    :raises SettingsError: for the first setting that cannot be used
    """
    values = {name: text for name, text in given.items() if text.strip()}
    if demo == ("API_URI" in values):
        allowed = "host and path of your API, or --demo in its place"
        raise SettingsError("API_URI", without_secrets(values.get("API_URI", "")), allowed)
    parsed = _parse_all(values, _read_files(values))
    _check_together(values, parsed, demo)
    return Settings(
        hostname=parsed["WS_HOSTNAME"],
        max_connections=parsed["WS_MAX_CONNECTIONS"],
        max_per_address=parsed["WS_MAX_PER_ADDRESS"],
        trust_proxy=parsed["TRUST_PROXY"],
        drain_timeout=parsed["DRAIN_TIMEOUT"],
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
