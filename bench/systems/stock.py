"""The yardstick: ``bench/stock.py``, a gateway from stock parts."""

from __future__ import annotations

import sys
from importlib.metadata import version

from bench.checkout import HERE
from bench.ports import free_port
from bench.programs import Program
from bench.systems import Ability, Conditions, Instance
from bench.systems.wsaas import listen


class Stock:
    """Stock Autobahn, twisted.web and treq under this very Python."""

    name = "stock"
    abilities = frozenset({Ability.API})

    def missing(self) -> str | None:
        """Nothing: WSAAS needs the same packages."""
        return None

    def version(self) -> str:
        """Of what it is made of."""
        return ", ".join(f"{package} {version(package)}" for package in ("autobahn", "twisted", "treq"))

    def start(self, conditions: Conditions) -> Instance:
        """
        Start it.

        :raises BenchError: it does not listen in time.
        """
        port = free_port()
        endpoint = listen(port, conditions.certificate)
        arguments = [sys.executable, "-m", "bench.stock", conditions.api, conditions.public(port), endpoint]
        program = Program(
            arguments,
            conditions.core,
            conditions.directory / "stock.log",
            {"PYTHONPATH": HERE.python_path()},
            cwd=conditions.directory,
        )
        program.wait_for_port_or_stop(port)
        return Instance([program], port, "/ws", port)
