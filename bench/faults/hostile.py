"""Attackers and watchers as a scenario uses them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Self

from bench.faults.memory import Usage, usage
from bench.faults.rig import Rig, python_path, spare_core
from bench.machine import assign_cores
from bench.programs import Program

GRACE = 30.0  #: seconds beyond its time for a program to end


class Attackers:
    """
    A running program of attackers.

    :param rig: whom they attack.
    :param kind: one of :data:`bench.faults.attackers.KINDS`.
    :param seconds: when they end by themselves.
    """

    def __init__(self, rig: Rig, kind: str, count: int, seconds: float) -> None:
        cores = assign_cores()
        self.seconds = seconds
        self._program = Program(
            [sys.executable, "-m", "bench.faults.attackers", kind, str(count), str(rig.port), str(seconds)],
            spare_core((cores.system, cores.api, cores.load)),
            rig.folder / "attackers.log",
            {"PYTHONPATH": python_path()},
            dialogue=True,
        )

    async def began(self) -> None:
        """Wait for their first connections."""
        await asyncio.to_thread(self._program.hear, GRACE)

    async def result(self) -> Mapping[str, Any]:
        """Wait for their end: ``connections``, ``bytes``, ``ends``."""
        found: Mapping[str, Any] = json.loads(await asyncio.to_thread(self._program.hear, self.seconds + GRACE))
        return found

    async def stop(self) -> None:
        """End them."""
        await asyncio.to_thread(self._program.stop)


@asynccontextmanager
async def attacked(rig: Rig, kind: str, count: int, seconds: float) -> AsyncIterator[Attackers]:
    """Have a gateway attacked meanwhile."""
    attackers = await asyncio.to_thread(Attackers, rig, kind, count, seconds)
    try:
        await attackers.began()
        yield attackers
    finally:
        await attackers.stop()


class Watch:
    """
    Samples of what the gateway takes, as long as its context lasts.

    :param every: seconds between two.
    """

    def __init__(self, rig: Rig, every: float = 0.25) -> None:
        self._rig = rig
        self._every = every
        self._task: asyncio.Task[None] | None = None
        self._began = monotonic()
        self.at: list[float] = []
        self.samples: list[Usage] = []

    @property
    def peak(self) -> Usage:
        """The sample with the most memory."""
        return max(self.samples, key=lambda sample: sample.total)

    async def look(self) -> Usage:
        """One sample, now."""
        # In a thread: ten thousand sockets take ss(8) a while.
        sample = await asyncio.to_thread(usage, self._rig.pid, self._rig.port)
        self.at.append(monotonic() - self._began)
        self.samples.append(sample)
        return sample

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    async def __aenter__(self) -> Self:
        await self.look()
        self._task = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.look()
