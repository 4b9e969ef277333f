"""The yardstick: ``bench/stock.py``, a gateway from stock parts."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

from bench.ports import free_port
from bench.programs import Program
from bench.systems import Instance
from bench.systems.wsaas import ROOT, listen


class Stock:
    """Stock Autobahn, twisted.web and treq under this very Python."""

    name = "stock"

    def missing(self) -> str | None:
        """Nothing: WSAAS needs the same packages."""
        return None

    def version(self) -> str:
        """Of what it is made of."""
        return ", ".join(f"{package} {version(package)}" for package in ("autobahn", "twisted", "treq"))

    def start(
        self, api_port: int, path: str, core: int, directory: Path, certificate: tuple[Path, Path] | None
    ) -> Instance:
        """
        Start it.

        :raises BenchError: it does not listen in time.
        """
        port = free_port()
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
        api = f"http://127.0.0.1:{api_port}{path}"
        public = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        arguments = [sys.executable, "-m", "bench.stock", api, public, listen(port, certificate)]
        program = Program(arguments, core, directory / "stock.log", environment, cwd=directory)
        program.wait_for_port_or_stop(port)
        return Instance([program], port, "/ws", port)
