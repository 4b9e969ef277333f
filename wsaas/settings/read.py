"""Reads the settings: parses and checks what was given, and makes each package's settings of it (protocol §5)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsaas.callbacks.settings import ApiSettings
from wsaas.connections.settings import ConnectionSettings
from wsaas.errors import SettingsError, raise_all
from wsaas.logs import LogSettings
from wsaas.net.descriptions import Place, read_place
from wsaas.net.settings import ListenSettings
from wsaas.settings.names import missing
from wsaas.settings.table import SETTINGS, Setting
from wsaas.settings.values import (
    ApiUri,
    field_lines,
    file_text,
    hostname,
    is_of_proxies,
    parse_api_uri,
    webhook_key,
    without_secrets,
)
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
    publish_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    max_batch: int = 1 << 20
    hostname_given: bool = True


#: The first part of every ws_uri if no endpoint tells a better one: the default port, also of wsaas.socket.
_DEFAULT_HOSTNAME = "http://localhost:8080"
_QUOTED = re.compile(r"""(['"]).*\1""", re.DOTALL)
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


def default_hostname(place: Place) -> str | None:
    """:returns: the ``WS_HOSTNAME`` that leads from this machine to an endpoint; :data:`None` if it is not known"""
    if place.port is None or place.proxied:
        return None
    host = place.interface
    if host in ("", "127.0.0.1", "::1"):
        host = "localhost"
    elif ":" in host:
        host = f"[{host}]"
    usual = 443 if place.encrypted else 80
    try:
        return hostname(f"{place.scheme}://{host}" + ("" if place.port == usual else f":{place.port}"))
    except ValueError:  # an interface that is no address
        return None


def _exclude(name: str, shown: str, other: str, why: str) -> SettingsError:
    """:returns: an error about two settings, each of which would do

    :param shown: what may be shown of the value of the first
    """
    return SettingsError(
        name, shown, f"one of {name} and {other}", instead=f"{name} and {other} exclude each other: {why}"
    )


class Reading:
    """The settings while they are read. What is wrong is collected, so that all of it can be put right at once.

    :param given: the settings by name, options and environment merged; a blank value counts as not given
    :param demo: whether an embedded API stands in for ``API_URI``
    """

    def __init__(self, given: Mapping[str, str], *, demo: bool = False) -> None:
        self.demo = demo
        #: What was given, with the content of files.
        self.values = {name: text for name, text in given.items() if text.strip()}
        #: The values by name; of a setting that cannot be used, the default.
        self.parsed: dict[str, Any] = {}
        #: All that is wrong.
        self.errors: list[SettingsError] = []
        #: The path of the file that a setting comes from.
        self._paths: dict[str, str] = {}
        if not demo and "API_URI" not in self.values:
            allowed = "host and path of your API, or --demo in its place"
            said = f"{missing('API_URI', given)} (allowed: {allowed})"
            self.errors.append(SettingsError("API_URI", "", allowed, instead=said))
        self._read_files()
        self._parse()
        self._check_together(demo)

    @property
    def endpoints(self) -> Sequence[tuple[str, Sequence[str]]]:
        """The endpoint descriptions of each setting that has some."""
        names = ("WS_LISTEN", "PUSH_LISTEN", "ADMIN_LISTEN")
        return [(name, self.parsed[name]) for name in names if self.parsed[name]]

    @property
    def files(self) -> Sequence[str]:
        """The names of those files of settings that were given, such as ``API_SECRET_FILE``."""
        return [f"{name}_FILE" for name in self._paths]

    def shown(self, setting: Setting) -> str:
        """:returns: what may be shown of a value that was given"""
        return _shown(setting, self.values[setting.name])

    def path_shown(self, setting: Setting) -> str | None:
        """:returns: what may be shown of the path of a setting's file; :data:`None` if it comes from none"""
        path = self._paths.get(setting.name)
        return None if path is None else _shown_path(path)

    def _read_files(self) -> None:
        """Replace each ``<NAME>_FILE`` by the content of the file."""
        for setting in SETTINGS:
            source = f"{setting.name}_FILE"
            if not setting.in_file or source not in self.values:
                continue
            path = self._paths[setting.name] = self.values[source]
            if setting.name in self.values:
                self.errors.append(_exclude(source, _shown_path(path), setting.name, "the value is in one of them"))
                continue
            try:
                self.values[setting.name] = file_text(path)
            except ValueError as error:
                allowed = f"a readable file with {setting.allowed}"
                self.errors.append(SettingsError(source, _shown_path(path), allowed, str(error)))

    def _parse(self) -> None:
        """Convert every value that there is; a setting that cannot be used has its default in what follows."""
        for setting in SETTINGS:
            text = self.values.get(setting.name)
            if text is not None:
                try:
                    self.parsed[setting.name] = setting.parse(text)
                    continue
                except ValueError as error:
                    self._refuse(setting, text, str(error))
            self.parsed[setting.name] = None if setting.default is None else setting.parse(setting.default)

    def _refuse(self, setting: Setting, text: str, why: str) -> None:
        name, shown, allowed = setting.name, _shown(setting, text), setting.allowed
        if name in self._paths:
            name, shown, allowed = f"{name}_FILE", _shown_path(self._paths[name]), f"a file with {allowed}"
            # By a wrong path it may be any file, of which nothing is shown.
            why = _QUOTED.sub("a word of it", why)
        self.errors.append(SettingsError(name, shown, allowed, why))

    def _check_together(self, demo: bool) -> None:
        """Check what concerns more than one setting."""
        values, parsed, errors = self.values, self.parsed, self.errors
        if demo and "API_URI" in values:
            errors.append(
                _exclude("API_URI", without_secrets(values["API_URI"]), "--demo", "the demo has an API of its own")
            )
        if demo and ("PUSH_TOKEN" in values or "PUSH_TOKEN_FILE" in values):
            errors.append(_exclude("PUSH_TOKEN", _HIDDEN, "--demo", "its pages push without a token"))
        if "WS_HOSTNAME" not in values:
            self._derive_hostname()
        if parsed["WS_MAX_BUFFER"] < 2 * parsed["WS_MAX_MESSAGE"]:
            allowed = f"at least twice WS_MAX_MESSAGE, which is {parsed['WS_MAX_MESSAGE']}"
            errors.append(SettingsError("WS_MAX_BUFFER", str(parsed["WS_MAX_BUFFER"]), allowed))
        if parsed["TRACE"] == "on" and any(name.lower() == "traceparent" for name, _ in parsed["API_HEADERS"]):
            why = "each callback has a traceparent of its own then"
            errors.append(_exclude("API_HEADERS", "traceparent: …", "TRACE=on", why))
        self._check_forwarded()
        self._check_webhooks()

    def _derive_hostname(self) -> None:
        """Have ``WS_HOSTNAME`` lead to the first listener that takes pushes."""
        given = self.parsed["PUSH_LISTEN"] or self.parsed["WS_LISTEN"] or ()
        found = [name for name in map(default_hostname, map(read_place, given)) if name]
        self.parsed["WS_HOSTNAME"] = found[0] if found else _DEFAULT_HOSTNAME
        if self.parsed["PUSH_LISTEN"] and not found:
            allowed = "where the API reaches PUSH_LISTEN"
            said = f"WS_HOSTNAME is not set, and PUSH_LISTEN does not tell it; allowed: {allowed}"
            self.errors.append(SettingsError("WS_HOSTNAME", "", allowed, instead=said))

    def _check_forwarded(self) -> None:
        names, parsed = self.parsed["FORWARD_HEADERS"], self.parsed
        of_proxies = [name for name in names if is_of_proxies(name)]
        if of_proxies and not parsed["TRUST_PROXY"]:
            allowed = "X-Forwarded-* only with TRUST_PROXY set, or any client could send it"
            why = f"{of_proxies[0]} is set by a proxy, and TRUST_PROXY trusts none"
            self.errors.append(SettingsError("FORWARD_HEADERS", self.values["FORWARD_HEADERS"], allowed, why))
        if "cookie" in (name.lower() for name in names) and parsed["WS_ORIGINS"].everyone:
            allowed = "Cookie only with WS_ORIGINS set, or any web page could connect in its visitor's name"
            self.errors.append(SettingsError("FORWARD_HEADERS", self.values["FORWARD_HEADERS"], allowed))

    def _check_webhooks(self) -> None:
        """Read ``API_SECRET`` as Standard Webhooks does, if callbacks are signed that way."""
        self.webhook_keys: tuple[bytes, ...] = ()
        if self.parsed["API_WEBHOOK_SIGNATURE"] != "on":
            return
        name, allowed = "API_WEBHOOK_SIGNATURE", "on with API_SECRET, each of which is base64 of at least 24 bytes"
        try:
            self.webhook_keys = tuple(map(webhook_key, self.parsed["API_SECRET"] or ()))
        except ValueError as error:
            self.errors.append(SettingsError(name, "on", allowed, f"of the secrets of API_SECRET {error}"))
        else:
            if not self.parsed["API_SECRET"] and "API_SECRET" not in self.values:
                self.errors.append(SettingsError(name, "on", allowed, "there is no API_SECRET"))

    def settings(self) -> Settings:
        """Give each package its settings.

        :raises SettingsError: for all settings that cannot be used
        """
        raise_all(self.errors)
        parsed = self.parsed
        return Settings(
            hostname=parsed["WS_HOSTNAME"],
            hostname_given="WS_HOSTNAME" in self.values,
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
                webhook_keys=self.webhook_keys,
                trace=parsed["TRACE"] == "on",
            ),
            connection=ConnectionSettings(
                parsed["WS_TIMEOUT"], parsed["WS_MAX_MESSAGE"], parsed["WS_MAX_BUFFER"], parsed["WS_MAX_GROUPS"]
            ),
            handshake=HandshakeSettings(
                parsed["WS_ORIGINS"],
                parsed["FORWARD_HEADERS"],
                parsed["WS_COMPRESSION"] == "on",
                tuple(name for name in parsed["FORWARD_HEADERS"] if is_of_proxies(name)),
                parsed["WS_MAX_TARGET"],
                parsed["WS_MAX_HEADERS"],
            ),
            listen=ListenSettings(
                parsed["WS_LISTEN"] or (),
                parsed["PUSH_LISTEN"] or (),
                parsed["ADMIN_LISTEN"] or (),
                parsed["WS_HEALTH_PATH"],
            ),
            log=LogSettings(parsed["LOG_LEVEL"], parsed["LOG_FORMAT"]),
            push_tokens=parsed["PUSH_TOKEN"] or (),
            publish_tokens=parsed["PUBLISH_TOKEN"] or (),
            max_batch=parsed["PUSH_MAX_BATCH"],
        )


def read_settings(given: Mapping[str, str], *, demo: bool = False) -> Settings:
    """Parse and check all settings.

    :param given: the settings by name, options and environment merged; a blank value counts as not given
    :param demo: whether an embedded API stands in for ``API_URI``
    :raises SettingsError: for all settings that cannot be used
    """
    return Reading(given, demo=demo).settings()
