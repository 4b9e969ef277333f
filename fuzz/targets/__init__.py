"""The targets: one module for each kind of bytes from outside."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module

from fuzz.inputs import Draw

#: What each reads, by name, and its share of a million inputs in thousands. Cheap ones get more.
NAMES: dict[str, tuple[str, int]] = {
    "settings": ("settings from environment, options and files; what is built of them", 130),
    "values": ("origins, Forwarded headers, tokens, Retry-After, idempotency keys, times", 140),
    "proxy": ("PROXY protocol 1 and 2 in front of clients", 80),
    "clients": ("what clients send: handshakes and what is none", 120),
    "frames": ("what follows a granted handshake: frames, plain and compressed", 110),
    "push": ("what pushers send", 90),
    "named": ("what pushers send by name: groups, users, all, batches", 30),
    "answers": ("the API's answers out of bytes: the fast agent beside Twisted's", 70),
    "decisions": ("what the API's answers ask for", 100),
    "api": ("the API's answers to POST, PUT and DELETE, through a whole gateway", 50),
    "admin": ("what comes to ADMIN_LISTEN", 25),
    "tls": ("TLS from clients, names by SNI, PEM files", 50),
    "journal": ("files in STATE_DIR", 5),
}


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of bytes from outside.

    :param name: of the module
    :param reads: what it is
    :param share: of a million inputs, in thousands
    :param make: makes an input
    :param run: tries an input; raises if anything is not as it must be, else says what came of it
    """

    name: str
    reads: str
    share: int
    make: Callable[[Draw], bytes]
    run: Callable[[bytes], Hashable]


def load(name: str) -> Target:
    """Import a target: not before it is needed, as atheris looks at what is imported."""
    module = import_module(f"{__name__}.{name}")
    reads, share = NAMES[name]
    return Target(name, reads, share, module.make, module.run)
