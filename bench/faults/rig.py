"""What stands around one scenario: the API with its ledger and a gateway, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from bench.checkout import HERE
from bench.faults.ledger import Account, Counts
from bench.machine import assign_cores
from bench.ports import free_port
from bench.programs import Program
from bench.systems.wsaas import listen

ANSWER_LIMIT = 30.0  #: seconds for the API to do as it is told
LOOK_EVERY = 0.05  #: seconds between two looks at the API's counts

_TWISTD = "from twisted.scripts.twistd import run; run()"


def python_path() -> str:
    """Where this checkout's packages are found, before others."""
    return HERE.python_path()


class Api:
    """
    The running API.

    :param folder: for its files.
    :param core: where it runs.
    """

    def __init__(self, folder: Path, core: int) -> None:
        self._folder = folder
        self._program = Program(
            [sys.executable, "-m", "bench.faults.api"],
            core,
            folder / "api.log",
            {"PYTHONPATH": python_path()},
            dialogue=True,
        )
        self.port: int = json.loads(self._program.hear(ANSWER_LIMIT))["port"]

    async def order(self, do: str, **more: object) -> dict[str, Any]:
        """Have it do something; see :meth:`bench.faults.api.Api.obey`."""
        self._program.tell(json.dumps({"do": do, **more}))
        answer: dict[str, Any] = json.loads(await asyncio.to_thread(self._program.hear, ANSWER_LIMIT))
        return answer

    async def script(self, **answers: str) -> None:
        """Say how each method is answered from now on; those not named are answered well."""
        await self.order("script", script=answers)

    async def counts(self) -> Counts:
        """The sums of its ledger."""
        return Counts(**await self.order("counts"))

    async def until(self, holds: Callable[[Counts], bool], timeout: float) -> Counts:
        """
        Wait until something holds of its counts.

        :param timeout: seconds; then it does not hold, and that is for the caller to see.
        :returns: the last counts.
        """
        deadline = monotonic() + timeout
        while not holds(counts := await self.counts()) and monotonic() < deadline:
            await asyncio.sleep(LOOK_EVERY)
        return counts

    async def quiet(self, timeout: float, still: float = 1.0) -> Counts:
        """
        Wait until nothing is owed and nothing has come for a while.

        :param timeout: seconds.
        :param still: seconds without a call.
        """
        deadline = monotonic() + timeout
        counts, since = await self.counts(), monotonic()
        while monotonic() < deadline and (counts.owed or monotonic() - since < still):
            await asyncio.sleep(LOOK_EVERY)
            now = await self.counts()
            if now.calls != counts.calls:
                since = monotonic()
            counts = now
        return counts

    async def accounts(self, *, only_open: bool = False) -> list[Account]:
        """
        Its ledger.

        :param only_open: those whose DELETE has not come.
        """
        file = self._folder / "accounts.json"
        await self.order("accounts", file=str(file), open=only_open)
        return [Account.from_json(values) for values in json.loads(file.read_text("utf-8"))]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._program.pid

    def stop(self) -> None:
        """End it."""
        self._program.stop()


class Gateway:
    """
    A running ``twistd wsaas``.

    :param port: where clients connect and pushes arrive.
    :param core: where it runs.
    :param folder: for its log.
    :param settings: its environment.
    """

    def __init__(self, port: int, core: int, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = port
        self.log = folder / "gateway.log"
        arguments = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", "wsaas"]
        self._program = Program(arguments, core, self.log, dict(settings), cwd=folder)
        self._program.wait_for_port_or_stop(port)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._program.pid

    @property
    def ended(self) -> bool:
        """Whether it ended, asked or not."""
        return self._program.ended

    def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self._program.stop()

    async def drain(self, timeout: float) -> int | None:
        """
        End it as an operator does: SIGTERM.

        :param timeout: seconds.
        :returns: its exit status, or None if it has none by then.
        """
        os.kill(self.pid, signal.SIGTERM)
        deadline = monotonic() + timeout
        while not self.ended and monotonic() < deadline:
            await asyncio.sleep(LOOK_EVERY)
        return self._program.status

    def stop(self) -> None:
        """End it, by force if it takes long."""
        self._program.stop()

    def faults(self) -> list[str]:
        """Lines of its log that must never be there."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        bad = [line for line in lines if "Traceback" in line or "a fault of the gateway" in line]
        return [f"log: {line}" for line in bad[:5]]


class Rig:
    """
    An API and a gateway in front of it.

    :param folder: for files.
    :param settings: of the gateway, beside those that bring the parts together.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        cores = assign_cores()
        self.folder = folder
        self.api = Api(folder, cores.api)
        self.port = free_port()
        self._core = cores.system
        self._settings = {name: value for name, value in settings.items() if value}
        self.gateway: Gateway | None = None

    async def start(self, api_port: int | None = None) -> None:
        """
        Start the gateway, again after it ended.

        :param api_port: where it finds the API, if not at the API's own port.
        """
        environment = {
            "PYTHONPATH": python_path(),
            "API_URI": f"http://127.0.0.1:{api_port or self.api.port}/api",
            "WS_HOSTNAME": f"http://127.0.0.1:{self.port}",
            "WS_LISTEN": listen(self.port, None),
            "DRAIN_TIMEOUT": "2000",
            "LOG_LEVEL": "WARN",
            **self._settings,
        }
        # In a thread: clients and proxies of this process go on meanwhile.
        self.gateway = await asyncio.to_thread(Gateway, self.port, self._core, self.folder, environment)

    @property
    def pid(self) -> int:
        """The gateway's process id."""
        assert self.gateway is not None
        return self.gateway.pid

    def stop(self) -> None:
        """End everything."""
        try:
            if self.gateway is not None:
                self.gateway.stop()
        finally:
            self.api.stop()


@asynccontextmanager
async def set_up(settings: Mapping[str, str], *, start: bool = True, journal: bool = False) -> AsyncIterator[Rig]:
    """
    Everything that a scenario needs, ended with it.

    :param settings: of the gateway.
    :param start: whether it is started, too.
    :param journal: whether it has a STATE_DIR.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        state = {"STATE_DIR": str(Path(name, "state"))} if journal else {}
        rig = await asyncio.to_thread(Rig, Path(name), {**settings, **state})
        try:
            if start:
                await rig.start()
            yield rig
        finally:
            await asyncio.to_thread(rig.stop)


def spare_core(taken: Sequence[int]) -> int:
    """A core that nobody of these has, if there is one."""
    allowed = sorted(os.sched_getaffinity(0))
    return next((core for core in allowed if core not in taken), allowed[-1])
