"""WSAAS itself, as an operator runs it: ``twistd -n wsaas`` with default settings, or with some that may cost."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.ports import free_port
from bench.programs import Program
from bench.systems import Instance, put_message
from wsaas import __version__

ROOT = Path(__file__).parent.parent.parent
_TWISTD = "from twisted.scripts.twistd import run; run()"

_ORIGIN = "https://app.example"
_TOKEN = "jYwUO8rPFmD1GQ0sVb7k"  # nosec B105  # lets nobody in anywhere else
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
    This checkout's gateway under this very Python.

    :param name: in tables and options.
    :param settings: on top of the defaults.
    :param journal: with ``STATE_DIR``, which default settings leave out.
    :param origin: what clients say in ``Origin``.
    :param token: what pushers show.
    """

    def __init__(
        self,
        name: str = "wsaas",
        settings: Mapping[str, str] | None = None,
        journal: bool = False,
        origin: str | None = None,
        token: str | None = None,
    ) -> None:
        self.name = name
        self._settings = dict(settings or {})
        self._journal = journal
        self._origin = origin
        self._token = token

    def missing(self) -> str | None:
        """Nothing: it is here."""
        return None

    def version(self) -> str:
        """The package's version."""
        return __version__

    def start(
        self, api_port: int, path: str, core: int, directory: Path, certificate: tuple[Path, Path] | None
    ) -> Instance:
        """
        Start the gateway.

        :raises BenchError: it does not listen in time.
        """
        port = free_port()
        environment = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "API_URI": f"http://127.0.0.1:{api_port}{path}",
            "WS_HOSTNAME": f"{'https' if certificate else 'http'}://127.0.0.1:{port}",
            "WS_LISTEN": listen(port, certificate),
            "DRAIN_TIMEOUT": "1000",  # nobody waits for its clients when a run is over
            **self._settings,
        }
        if self._journal:
            environment["STATE_DIR"] = str(directory / "state")
        arguments = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", "wsaas"]
        program = Program(arguments, core, directory / "wsaas.log", environment, cwd=directory)
        program.wait_for_port_or_stop(port)
        push = partial(put_message, token=self._token)
        return Instance([program], port, "/", port, push_request=push, origin=self._origin)


def with_journal() -> Wsaas:
    """:returns: it with ``STATE_DIR``"""
    return Wsaas("wsaas-journal", journal=True)


def with_limits() -> Wsaas:
    """:returns: it with every limit that is off by default"""
    return Wsaas("wsaas-limits", _LIMITS, origin=_ORIGIN, token=_TOKEN)


def with_signatures() -> Wsaas:
    """:returns: it with ``Ws-Signature`` in every callback"""
    return Wsaas("wsaas-signed", _SECRET)
