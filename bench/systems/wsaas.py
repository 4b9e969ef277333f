"""WSAAS itself, as an operator runs it: ``twistd -n wsaas`` with default settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.programs import Program, free_port
from bench.systems import Instance
from wsaas import __version__

ROOT = Path(__file__).parent.parent.parent
_TWISTD = "from twisted.scripts.twistd import run; run()"


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

    :param journal: with ``STATE_DIR``, which default settings leave out.
    """

    def __init__(self, journal: bool = False) -> None:
        self.name = "wsaas-journal" if journal else "wsaas"
        self._journal = journal

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
        }
        if self._journal:
            environment["STATE_DIR"] = str(directory / "state")
        arguments = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", "wsaas"]
        program = Program(arguments, core, directory / "wsaas.log", environment, cwd=directory)
        program.wait_for_port_or_stop(port)
        return Instance([program], port, "/", port)
