"""WSAAS itself, as an operator runs it: ``twistd -n wsaas`` with default settings, or with some that may cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.checkout import HERE, Checkout
from bench.ports import free_port
from bench.programs import Program
from bench.systems import GROUP, Ability, Conditions, Instance, put_message

_ORIGIN = "https://app.example"
_TOKEN = "jYwUO8rPFmD1GQ0sVb7k"  # nosec B105  # lets nobody in anywhere else
_PUBLISH_TOKEN = "mA7vQy2LpEw5XoTz9RkC"  # nosec B105  # ditto
#: Who may come, how many, and who may push. As an operator would: the right one is not the first.
_LIMITS = {
    "WS_ORIGINS": f"same https://*.example.org {_ORIGIN}",
    "WS_MAX_CONNECTIONS": "100000",
    "WS_MAX_PER_ADDRESS": "50000",
    "PUSH_TOKEN": f"3ZlH5cTq9xNe2RwAoKXu {_TOKEN}",
}
_SECRET = {"API_SECRET": "Xr4n8ZtKc1vJm6qWp0sD"}  # nosec B105  # ditto


def listen(port: int, certificate: tuple[Path, Path] | None) -> str:
    """
    Twisted's description of an endpoint.

    Many clients connect at once; the default backlog would make some of them wait for a repeated SYN.
    """
    if certificate is None:
        return f"tcp:{port}:interface=127.0.0.1:backlog=1024"
    chain, key = certificate
    return f"ssl:{port}:interface=127.0.0.1:backlog=1024:certKey={chain}:privateKey={key}"


class Wsaas:
    """
    The gateway of a checkout.

    :param name: in tables and options.
    :param settings: on top of the defaults.
    :param journal: with ``STATE_DIR``, which default settings leave out.
    :param origin: what clients say in ``Origin``.
    :param token: what pushers show.
    :param checkout: whose gateway it is; by default this one's.
    """

    abilities = frozenset(Ability)

    def __init__(
        self,
        name: str = "wsaas",
        settings: Mapping[str, str] | None = None,
        journal: bool = False,
        origin: str | None = None,
        token: str | None = None,
        checkout: Checkout = HERE,
    ) -> None:
        self.name = name
        self._settings = dict(settings or {})
        self._journal = journal
        self._origin = origin
        self._token = token
        self._checkout = checkout

    def missing(self) -> str | None:
        """Why the checkout cannot be run, or None."""
        return self._checkout.problem()

    def version(self) -> str:
        """Of the package, with the commit."""
        return self._checkout.version()

    def start(self, conditions: Conditions) -> Instance:
        """
        Start the gateway.

        :raises BenchError: it does not listen in time.
        """
        port = free_port()
        environment = {
            "PYTHONPATH": self._checkout.python_path(),
            "API_URI": conditions.api,
            "WS_HOSTNAME": conditions.public(port),
            "WS_LISTEN": listen(port, conditions.certificate),
            "DRAIN_TIMEOUT": "1000",  # nobody waits for its clients when a run is over
            **self._settings,
        }
        directory = conditions.directory
        if self._journal:
            environment["STATE_DIR"] = str(directory / "state")
        if conditions.token is not None:
            environment["PUSH_TOKEN"] = conditions.token
        if conditions.publishing:
            environment["PUBLISH_TOKEN"] = _PUBLISH_TOKEN
        log = directory / "wsaas.log"
        program = Program(self._checkout.twistd(), conditions.core, log, environment, cwd=directory)
        program.wait_for_port_or_stop(port)
        push = partial(put_message, token=conditions.token or self._token)
        base = conditions.public(port)
        return Instance(
            [program],
            port,
            "/",
            port,
            push_request=push,
            publish_request=partial(put_message, f"{base}/groups/{GROUP}", token=_PUBLISH_TOKEN),
            join_request=lambda group: put_message(f"{base}/users/{GROUP}/groups/{group}", b"", _PUBLISH_TOKEN),
            origin=self._origin,
        )


def with_journal() -> Wsaas:
    """:returns: it with ``STATE_DIR``"""
    return Wsaas("wsaas-journal", journal=True)


def with_limits() -> Wsaas:
    """:returns: it with every limit that is off by default"""
    return Wsaas("wsaas-limits", _LIMITS, origin=_ORIGIN, token=_TOKEN)


def with_signatures() -> Wsaas:
    """:returns: it with ``Ws-Signature`` in every callback"""
    return Wsaas("wsaas-signed", _SECRET)
