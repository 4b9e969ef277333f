"""Warnings about settings that are allowed, but risky or probably a mistake (protocol §5)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from urllib.parse import urlsplit

from wsaas.net.descriptors import share_out
from wsaas.net.server_tls import asks_for_certificates
from wsaas.settings.read import Settings
from wsaas.settings.table import SETTINGS
from wsaas.settings.values import may_mean_seconds, without_secrets

_NAMES = frozenset(setting.name for setting in SETTINGS)
_KNOWN = _NAMES | {f"{setting.name}_FILE" for setting in SETTINGS if setting.in_file}
#: The similarity from which on a name counts as a misspelled setting: with one letter too many it is about 0.95.
_ALIKE = 0.85
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])+)")


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "") or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(description: str) -> bool:
    """:returns: whether only this machine reaches an endpoint"""
    if description.removeprefix("haproxy:").startswith("unix:"):
        return True
    match = _INTERFACE.search(description)
    return match is not None and _is_loopback(re.sub(r"\\(.)", r"\1", match[1]))


def warnings(settings: Settings, open_files: int = sys.maxsize) -> list[str]:
    """:returns: warnings about settings that are allowed (protocol §5)

    :param open_files: how many descriptors the process may have
    """
    found = []
    room = share_out(open_files, settings.api.max_requests).connections
    if settings.max_connections is not None and settings.max_connections > room:
        found.append(
            f"WS_MAX_CONNECTIONS is {settings.max_connections}, but {open_files} open files are enough for about "
            f"{room} clients (ulimit -n, LimitNOFILE=); more have to wait"
        )
    hostname = urlsplit(settings.hostname if "://" in settings.hostname else f"//{settings.hostname}").hostname or ""
    where = settings.listen.pushes or settings.listen.clients or (() if settings.api_uri is None else ("tcp:8080",))
    if not settings.push_tokens and not all(_is_local(place) or asks_for_certificates(place) for place in where):
        found.append(
            "pushes are accepted from other machines, and only the secrecy of each ws_uri protects them; "
            "PUSH_TOKEN, client certificates (caCerts=), or PUSH_LISTEN on a private address keep others out"
        )
    elsewhere = settings.api_uri is not None and not _is_loopback(settings.api_uri.host)
    if elsewhere and not settings.api.secrets:
        found.append(
            "API_URI is on another machine, and callbacks are not signed: any client of the API can pass for this "
            "gateway; API_SECRET lets the API tell"
        )
    if settings.api_uri is not None and elsewhere and _is_loopback(hostname):
        found.append(
            f"WS_HOSTNAME is {without_secrets(settings.hostname)}, which leads an API on {settings.api_uri.host} to "
            "itself and not to this process"
        )
    return found


def without_units(given: Mapping[str, str]) -> list[str]:
    """Find durations that are surely meant in seconds, as many programs have them.

    :param given: the given settings, by name
    :returns: a warning for each
    """
    return [
        f"{setting.name} is {text} milliseconds, as it has no unit; if seconds are meant, write {text}s, "
        f"or else {text}ms"
        for setting in SETTINGS
        if setting.is_duration and may_mean_seconds(text := given.get(setting.name, ""))
    ]


def misnamed(given: Iterable[str]) -> list[str]:
    """Find misspelled settings in the environment.

    An unknown option is an error, but an environment also contains variables of other programs. A setting that protects
    the gateway must not be missing because of a typo.

    :param given: the names of the given settings, and of everything else in the environment
    :returns: a warning for each name that is probably meant to be a setting
    """
    found = []
    names = frozenset(given)
    for name in sorted(names - _KNOWN):
        plain = name.upper().removeprefix("WSAAS_")
        if plain not in _KNOWN and plain.removesuffix("_FILE") in _NAMES:
            meant = plain.removesuffix("_FILE")
        else:
            # Only settings with the same two first letters: PIP_CERT is not meant to be API_CERT.
            names_like_it = [known for known in _KNOWN if known[:2] == plain[:2]]
            meant = next(iter(get_close_matches(plain, names_like_it, 1, _ALIKE)), "")
        if meant and meant not in names:
            found.append(f"the environment has {name}, which is no setting; if {meant} is meant, it has no effect")
    return found
