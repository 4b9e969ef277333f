"""One run: API, system and load generator started together, watched during the counted window, and ended."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import Api
from bench.load import Load, Work
from bench.machine import Cores
from bench.programs import Program, cpu_seconds
from bench.systems import Instance, System

SATURATED = 0.85  #: share of its core from which on the API or the generator may be the limit
RUN_LIMIT = 900  #: seconds after which a generator ends whatever happens


@dataclass(frozen=True)
class Plan:
    """
    How much is measured.

    :param rounds: runs of each workload; the report has their median.
    :param warm: seconds before the counted window.
    :param seconds: length of the counted window.
    :param clients: clients that send or get messages.
    :param waiting: messages on their way for each client.
    :param pushers: keep-alive connections that push, one push at a time each.
    :param handshakes: clients that come and go at a time.
    :param idle: numbers of idle clients at which memory is read, rising.
    :param idle_seconds: how long the pings of the last of these are watched.
    :param idle_rounds: runs of the idle workload, which is slow and steady.
    """

    rounds: int = 3
    warm: float = 2.0
    seconds: float = 10.0
    clients: int = 100
    waiting: int = 8
    pushers: int = 16
    handshakes: int = 64
    idle: tuple[int, ...] = (1000, 5000)
    idle_seconds: float = 60.0
    idle_rounds: int = 3


@dataclass(frozen=True)
class Measurement:
    """
    What one run yielded.

    :param values: by metric.
    :param busy: by role (``system``, ``api``, ``load``) the share of its core that it used.
    :param faults: why the figures do not count, if they do not.
    """

    values: dict[str, float]
    busy: dict[str, float]
    faults: list[str] = field(default_factory=list)


class Rig:
    """
    Everything of one run.

    :param api: the running API.
    :param instance: the running system.
    :param load: the running generator.
    :param cores: who runs where.
    """

    def __init__(self, api: Api, instance: Instance, load: Load, cores: Cores) -> None:
        self.api = api
        self.instance = instance
        self.load = load
        self._cores = cores

    def run(self, warm: float, seconds: float) -> tuple[Work, dict[str, float], list[str]]:
        """
        Let the generator work, and watch who is busy.

        :param warm: seconds before the counted window.
        :param seconds: length of the window.
        :returns: what was done, by role the share of its core, and what makes the run void.
        """
        marks: list[tuple[float, float]] = []

        def mark() -> None:
            marks.append((cpu_seconds(self.instance.pids()), cpu_seconds([self.api.pid])))

        work = self.load.run(warm, seconds, mark)
        (system_before, api_before), (system_after, api_after) = marks
        busy = {
            "system": (system_after - system_before) / work.seconds,
            "api": (api_after - api_before) / work.seconds,
            "load": work.cpu / work.seconds,
        }
        faults = [f"{role} saturated: {busy[role]:.0%}" for role in ("api", "load") if busy[role] > SATURATED]
        if self._cores.shared:
            faults.append("the system shares its core: at least three are needed")
        if work.errors:
            faults.append(f"{work.errors} errors, the first: {work.first_error}")
        return work, busy, faults


@contextmanager
def set_up(
    system: System, load_program: Path, cores: Cores, mode: str, api_path: str = "/", **options: str | int
) -> Iterator[Rig]:
    """
    Start what one run needs, and end it afterwards.

    :param system: what is measured.
    :param load_program: the compiled generator.
    :param mode: of the generator.
    :param api_path: path of the API's address.
    :param options: further options of the generator.
    :raises BenchError: something does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folders = [Path(name, role) for role in ("api", "system", "load")]
        for folder in folders:
            folder.mkdir()
        with Api(folders[0], cores.api) as api:
            instance = system.start(api.uri(api_path), cores.system, folders[1])
            program: Program = instance.program
            with (
                program,
                Load(
                    load_program,
                    mode,
                    instance.port,
                    cores.load,
                    folders[2],
                    RUN_LIMIT,
                    status_port=api.port,
                    **options,
                ) as load,
            ):
                yield Rig(api, instance, load, cores)
