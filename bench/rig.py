"""One run: API, system and load generator started together, watched during the counted window, and ended."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import Api
from bench.load import Compiled, Load, Work
from bench.machine import Cores
from bench.programs import Program, core_seconds, cpu_seconds
from bench.systems import Conditions, Instance, System

SATURATED = 0.85  #: share of a core from which on API or generator, or both if they share it, may be the bottleneck
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
    :param pushers: keep-alive connections that push, one push at a time each; enough to keep the system busy while the
        answers to some wait for a generator that has to be woken up.
    :param handshakes: clients that come and go at a time.
    :param crowd: clients that are open in all where it is measured what a crowd costs.
    :param idle: numbers of idle clients at which memory is read, rising.
    :param idle_tls: the same with TLS.
    :param idle_seconds: how long the pings of the last of these are watched.
    :param churn: clients that come and go a second among the idle ones, while the loop's lag is measured.
    :param churn_seconds: for how long.
    :param subscribers: members of the group that is published to.
    :param publishers: connections that publish, and publishes on their way.
    :param lag_subscribers: members while the lag of direct pushes is measured.
    :param direct: direct pushes a second meanwhile.
    :param lag_seconds: for how long, with publishes and without.
    :param member_groups: groups that each of these joins while the memory of a membership is measured; in all, with one
        group more, at most as many memberships as any process may hold.
    """

    rounds: int = 3
    warm: float = 2.0
    seconds: float = 8.0
    clients: int = 100
    waiting: int = 8
    pushers: int = 16
    handshakes: int = 64
    crowd: int = 18000
    idle: tuple[int, ...] = (1000, 5000, 19000)
    idle_tls: tuple[int, ...] = (1000, 5000)
    idle_seconds: float = 60.0
    churn: float = 200.0
    churn_seconds: float = 20.0
    subscribers: int = 5000
    publishers: int = 2
    lag_subscribers: int = 10000
    direct: float = 100.0
    lag_seconds: float = 10.0
    member_groups: int = 8


@dataclass(frozen=True)
class Measurement:
    """
    What one run yielded.

    :param values: by metric; one is missing if that part of the run failed and the others did not.
    :param busy: by role (``system``, ``api``, ``load``) the share of its core that it used; ``others``: what
        anybody else used of the system's core, or the host withheld.
    :param faults: why the figures do not count, if they do not.
    :param notes: what else a reader must know.
    :param limits: why the load side may have been the bottleneck: rates do not count then, CPU time does.
    """

    values: dict[str, float]
    busy: dict[str, float]
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)

    @property
    def idle(self) -> float:
        """The share of the system's core that nobody used."""
        return max(0.0, 1.0 - self.busy["system"] - self.busy["others"])


@dataclass(frozen=True)
class Window:
    """
    What was seen in a counted window.

    :param work: what the generator did.
    :param busy: as in :class:`Measurement`.
    :param faults: ditto.
    :param limits: ditto.
    """

    work: Work
    busy: dict[str, float]
    faults: list[str]
    limits: list[str]

    def measurement(self, values: dict[str, float], notes: Sequence[str] = ()) -> Measurement:
        """What the run yielded, if this was all of it."""
        return Measurement(values, self.busy, self.faults, list(notes), self.limits)


def load_side_limits(busy: Mapping[str, float], cores: Cores) -> list[str]:
    """
    Why API or load generator may have been the bottleneck, rather than the system.

    :param busy: shares of a core, by role.
    :param cores: who runs where; shares of one core add up.
    """
    if cores.load_side_shared:
        both = busy["api"] + busy["load"]
        return [f"api and load saturated the core that they share: {both:.0%}"] if both > SATURATED else []
    return [f"{role} saturated: {busy[role]:.0%}" for role in ("api", "load") if busy[role] > SATURATED]


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

    def pids(self) -> list[int]:
        """All processes of the system: what they use is what it uses."""
        return [pid for program in self.instance.programs for pid in program.pids()]

    def run(self, warm: float, seconds: float, rate: float = 0, direct: float = 0) -> Window:
        """
        Let the generator work, and watch who is busy.

        :param warm: seconds before the counted window.
        :param seconds: length of the window.
        :param rate: as in :meth:`bench.load.Load.run`.
        :param direct: ditto.
        """
        marks: list[tuple[float, float, float]] = []
        pids = self.pids()

        def mark() -> None:
            marks.append((cpu_seconds(pids), cpu_seconds([self.api.pid]), core_seconds(self._cores.system)))

        work = self.load.run(warm, seconds, mark, rate, direct)
        system, api, core = (after - before for before, after in zip(*marks, strict=True))
        busy = {
            "system": system / work.seconds,
            "api": api / work.seconds,
            "load": work.cpu / work.seconds,
            "others": max(0.0, core - system) / work.seconds,
        }
        faults: list[str] = []
        if self._cores.shared:
            faults.append("the system shares its core: at least two are needed")
        if work.errors:
            faults.append(f"{work.errors} errors, the first: {work.first_error}")
        if malformed := self.api.counts().malformed:
            faults.append(f"{malformed} requests that the API could not understand")
        return Window(work, busy, faults, load_side_limits(busy, self._cores))


@dataclass(frozen=True)
class Setting:
    """
    What every run needs to know.

    :param programs: load generator and API.
    :param cores: who runs where.
    :param plan: how much is measured.
    :param certificate: a certificate and its key, for TLS.
    """

    programs: Compiled
    cores: Cores
    plan: Plan
    certificate: tuple[Path, Path] | None


@contextmanager
def set_up(
    system: System,
    setting: Setting,
    mode: str,
    path: str = "/api",
    ask: str | None = None,
    tls: bool = False,
    token: str | None = None,
    **options: str | int,
) -> Iterator[Rig]:
    """
    Start what one run needs, and end it afterwards.

    :param system: what is measured.
    :param mode: of the generator.
    :param path: of the API's address: ``/echo`` answers messages with messages.
    :param ask: what clients ask for in their handshake, if they are to be in a group or of a user.
    :param tls: whether clients and pushers speak TLS.
    :param token: without which nobody may push.
    :param options: further options of the generator.
    :raises BenchError: something does not start.
    """
    cores = setting.cores
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folders = [Path(name, role) for role in ("api", "system", "load")]
        for folder in folders:
            folder.mkdir()
        with Api(setting.programs.sink, folders[0], cores.api, RUN_LIMIT) as api:
            certificate = setting.certificate if tls else None
            conditions = Conditions(api.port, path, cores.system, folders[1], certificate, token, ask is not None)
            instance = system.start(conditions)
            try:
                arguments: dict[str, str | int | Path] = {
                    "path": ask or instance.path,
                    "direct_path": instance.path,
                    "probe": instance.probe,
                    "push_port": instance.push_port,
                    "tls": int(tls),
                    "push_tls": int(tls and instance.push_tls),
                    "counters": api.counters,
                    "at_once": instance.at_once,
                    **({} if instance.origin is None else {"origin": instance.origin}),
                    **({} if instance.greeting is None else {"greeting": instance.greeting}),
                    **options,
                }
                with Load(
                    setting.programs.load, mode, instance.port, cores.load, folders[2], RUN_LIMIT, **arguments
                ) as load:
                    yield Rig(api, instance, load, cores)
            finally:
                stop_all(instance.programs)


def stop_all(programs: list[Program]) -> None:
    """End programs, the last one first."""
    for program in reversed(programs):
        program.stop()
