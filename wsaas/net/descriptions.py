"""Endpoint descriptions, read as Twisted reads them: what kind they are of, and their options by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: The prefix of an endpoint description whose clients are proxies that speak the PROXY protocol.
PROXIED = "haproxy:"
#: The kinds that have TLS.
TLS = ("tls", "ssl")
#: The options of each kind, in the order in which they may stand without their names, as Twisted has them.
_POSITIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "tls": ("path", "port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}
#: Addresses that stand for all of the machine's.
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # nosec B104  # compared with, not listened on
_FIELD = re.compile(r"(?:^|:)((?:\\.|[^:\\])*)")
_NAMED = re.compile(r"((?:\\.|[^=\\])*)=(.*)", re.DOTALL)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def options_of(description: str) -> tuple[str, dict[str, str]]:
    """Parse an endpoint description, as Twisted does.

    :param description: without ``haproxy:`` in front
    :returns: the kind of endpoint, and its options by name
    :raises ValueError: if it is malformed or ambiguous
    """
    fields = [match[1] for match in _FIELD.finditer(description)]
    if len(":".join(fields)) != len(description):
        raise ValueError("a backslash at the end")
    kind, found, positions = fields[0], {}, list(_POSITIONS[fields[0]])
    for each in fields[1:]:
        named = _NAMED.fullmatch(each)
        if named is None and not positions:
            raise ValueError(f"too many options: {_unquote(each)}")
        name, value = (positions.pop(0), each) if named is None else (_unquote(named[1]), named[2])
        if name in found or (name not in _POSITIONS[kind] and not (name == "caCerts" and kind in TLS)):
            raise ValueError(f"{name}= is there twice" if name in found else f"{name}= is no option of {kind}:")
        found[name] = _unquote(value)
    return kind, found


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint listens, as far as its description tells.

    :param kind: such as ``tcp``
    :param proxied: whether its clients are proxies that speak the PROXY protocol
    :param options: by name
    """

    kind: str
    proxied: bool
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def encrypted(self) -> bool:
        """Whether it has TLS."""
        return self.kind in TLS

    @property
    def scheme(self) -> str:
        """What pushes are sent with."""
        return "https" if self.encrypted else "http"

    @property
    def port(self) -> int | None:
        """The port; :data:`None` if it has none, or who starts the process chooses it."""
        text = self.options.get("port", "443" if self.kind == "tls" else "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
        return number if 0 < number < 65536 else None

    @property
    def interface(self) -> str:
        """The address; empty for all of them."""
        address = self.options.get("interface", "")
        return "" if address in _EVERYWHERE else address


def read_place(description: str) -> Place:
    """:returns: what a description says; nothing but its kind if it cannot be used, which is said elsewhere"""
    inner = description.removeprefix(PROXIED)
    try:
        kind, options = options_of(inner)
    except (ValueError, KeyError):
        kind, options = inner.partition(":")[0], {}
    return Place(kind, inner != description, options)
