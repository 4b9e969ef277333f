"""Warnings about settings that are allowed, but risky or probably a mistake (protocol §5)."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from wsaas.net.descriptions import Place, read_place
from wsaas.net.descriptors import share_out
from wsaas.settings.read import Settings, default_hostname
from wsaas.settings.table import SETTINGS
from wsaas.settings.values import may_mean_seconds, without_secrets

#: Where a ``WS_HOSTNAME`` without a port leads.
_USUAL_PORTS = {"http": (80,), "https": (443,)}


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "") or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_guarded(place: Place) -> bool:
    """:returns: whether only this machine reaches an endpoint, or only clients with a certificate"""
    is_local = place.kind == "unix" or (place.interface != "" and _is_loopback(place.interface))
    return is_local or "caCerts" in place.options


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
    parts = urlsplit(settings.hostname if "://" in settings.hostname else f"//{settings.hostname}")
    hostname = parts.hostname or ""
    where = settings.listen.pushes or settings.listen.clients or (() if settings.api_uri is None else ("tcp:8080",))
    if not settings.push_tokens and not all(map(_is_guarded, map(read_place, where))):
        found.append(
            "pushes are accepted from other machines, and only the secrecy of each ws_uri protects them; "
            "PUSH_TOKEN, client certificates (caCerts=), or PUSH_LISTEN on a private address keep others out"
        )
    if set(settings.push_tokens) & set(settings.publish_tokens):
        found.append(
            "PUSH_TOKEN and PUBLISH_TOKEN have a token in common: whoever may push to one ws_uri may then publish to "
            "everyone; PUBLISH_TOKEN opens pushes too"
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
    if settings.api_uri is not None and settings.api_uri.socket is not None:
        found += _of_socket(settings.api_uri.socket)
    elsewhere_led = _leads_elsewhere(settings, where, parts)
    return [*found, elsewhere_led] if elsewhere_led else found


def _of_socket(path: str) -> list[str]:
    """:returns: why the API's UNIX socket cannot be connected to now; it may be made later"""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        return [f"API_URI names the socket {path}, which is not there yet ({error.strerror}): until it is, calls fail"]
    if not stat.S_ISSOCK(mode):
        return [f"API_URI names the socket {path}, which is a file of another kind"]
    if not os.access(path, os.W_OK):
        return [f"API_URI names the socket {path}, to which this account may not write, as a connection needs it"]
    return []


def _leads_elsewhere(settings: Settings, where: Sequence[str], hostname: SplitResult) -> str:
    """:returns: what is wrong with a ``WS_HOSTNAME`` that leads to no endpoint for pushes; empty if nothing is

    :param where: the endpoints
    """
    where = where or ("tcp:8080",)
    places = [read_place(description) for description in where]
    listen = "PUSH_LISTEN" if settings.listen.pushes else "WS_LISTEN"
    shown = without_secrets(settings.hostname)
    if not settings.hostname_given and not any(map(default_hostname, places)):
        return (
            f"WS_HOSTNAME is not set, and {listen} does not tell where pushes arrive: it is taken as {shown}; set it "
            "to where the API reaches this process"
        )
    if settings.trust_proxy or any(place.proxied or place.port is None for place in places):
        # A proxy takes pushes at an address of its own; systemd and the kernel know theirs.
        return ""
    ports = (hostname.port,) if hostname.port else _USUAL_PORTS.get(hostname.scheme, (80, 443))
    there = [place for place in places if place.port in ports]
    if any(hostname.scheme in ("", place.scheme) for place in there):
        return ""
    why = f"speaks {there[0].scheme} on that port" if there else "has no such port"
    return (
        f"WS_HOSTNAME is {shown}, but {listen} {why} ({' '.join(where)}): pushes arrive only if something in front "
        "passes them on"
    )


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
