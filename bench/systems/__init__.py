"""
The systems that can be measured, each in a module of its own.

A system is started for each run anew, on one core, and told where the API is. To add one, write a class with the
methods of :class:`System` and name it in :func:`all_systems`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from bench.programs import Program


def put_message(address: str, body: bytes, token: str | None = None) -> bytes:
    """``PUT`` of a text message to the address that the API was told."""
    parts = urlsplit(address)
    authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
    head = (
        f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{authorization}"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Ability(Enum):
    """What not every system can do."""

    API = auto()  #: hand to an API what clients send, and push to one client
    TOKENS = auto()  #: let only those push who show a token
    GROUPS = auto()  #: have one request reach many of its clients
    USERS = auto()  #: have one request let all clients of a user join a group


GROUP = "bench"  #: the group, or channel, that is published to
#: What its members ask for in their handshake; the API lets them join then, or the system does that by itself.
SUBSCRIBE = "/subscribe"
USER = "/user"  #: what clients of one user ask for, who is called as the group is


@dataclass(frozen=True)
class Conditions:
    """
    What a system is told when it starts.

    :param api_port: where its callbacks go, on 127.0.0.1.
    :param path: of the API.
    :param core: where it runs.
    :param directory: an empty folder for its files.
    :param certificate: a certificate and its key: clients speak TLS.
    :param token: without which nobody may push; only for systems that have such tokens.
    :param publishing: whether anything is published to a group.
    """

    api_port: int
    path: str
    core: int
    directory: Path
    certificate: tuple[Path, Path] | None = None
    token: str | None = None
    publishing: bool = False

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.api_port}{self.path}"

    def public(self, port: int) -> str:
        """The address of a system that listens on a port, without a path."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{port}"


@dataclass(frozen=True)
class Instance:
    """
    A running system.

    :param programs: its processes, in the order of their start; they may have started others.
    :param port: where WebSocket clients connect.
    :param path: what they ask for.
    :param push_port: where pushers connect.
    :param push_tls: whether pushers speak TLS where clients do.
    :param push_request: the whole HTTP request that pushes a text message to the client with an address.
    :param publish_request: the whole HTTP request that publishes a text message to the members of :data:`GROUP`.
    :param join_request: the whole HTTP request that lets all clients of the user join a group.
    :param at_once: clients that may connect at a time while many are opened; below its listen backlog.
    :param probe: a path on ``push_port`` whose answer tells how late the system is.
    :param origin: what clients say in ``Origin``, if they say anything.
    :param greeting: the message with which a client begins, if it has to.
    """

    programs: list[Program]
    port: int
    path: str
    push_port: int
    push_tls: bool = True
    push_request: Callable[[str, bytes], bytes] = put_message
    publish_request: Callable[[bytes], bytes] | None = None
    join_request: Callable[[str], bytes] | None = None
    probe: str = "/probe"
    at_once: int = 64
    origin: str | None = None
    greeting: str | None = None


class System(Protocol):
    """A system that can be started."""

    @property
    def name(self) -> str:
        """Its name in tables and options."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do that not all can."""

    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""

    def version(self) -> str:
        """Its version."""

    def start(self, conditions: Conditions) -> Instance:
        """
        Start it and wait until it listens.

        :raises BenchError: it does not start.
        """


def all_systems() -> dict[str, System]:
    """Every system by its name."""
    from bench.systems.centrifugo import Centrifugo
    from bench.systems.nchan import Nchan
    from bench.systems.pushpin import Pushpin
    from bench.systems.stock import Stock
    from bench.systems.wsaas import Wsaas, with_journal, with_limits, with_signatures

    ours: list[System] = [Wsaas(), with_journal(), with_limits(), with_signatures()]
    systems: list[System] = [*ours, Stock(), Pushpin(), Nchan(), Centrifugo()]
    return {system.name: system for system in systems}
