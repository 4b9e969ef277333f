"""Scenarios, one after the other or several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from bench.faults.clients import RefusedError
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.scenarios import all_scenarios
from bench.machine import raise_file_limit
from bench.programs import BenchError

SPARE_FILES = 2000  #: descriptors beside those of the clients: calls of the API, others that come and go
#: Whose size is which of the plan's.
CROWDED = {
    "kill": "open",
    "memory-silent": "silent",
    "memory-mute": "silent",
    "groups-deaf": "members",
    "groups-kill": "members",
    "groups-drain": "members",
}


async def run_all(
    names: Sequence[str], plan: Plan, at_once: int = 1, tell: Callable[[str, Outcome], None] = lambda *_: None
) -> tuple[dict[str, Outcome], dict[str, float]]:
    """
    Run scenarios. What breaks a scenario itself is a problem of that scenario only.

    :param names: of scenarios.
    :param at_once: how many at a time; each has processes of its own. Figures of several at a time mean little.
    :param tell: called with each that is over.
    :returns: by name what came of it, and how many seconds it took.
    """
    limit = raise_file_limit()
    outcomes: dict[str, Outcome] = {}
    seconds: dict[str, float] = {}
    scenarios = all_scenarios()
    remaining = iter(names)

    async def one(name: str) -> Outcome:
        if name in CROWDED and getattr(plan, CROWDED[name]) + SPARE_FILES > limit:
            return Outcome(skipped=f"the limit of open files is {limit}: too low")
        try:
            return await scenarios[name].run(plan)
        except (BenchError, RefusedError, OSError, TimeoutError, asyncio.IncompleteReadError) as problem:
            lines = [line for line in str(problem).splitlines() if line.strip()]
            return Outcome(problems=[f"broke off: {type(problem).__name__}: {' … '.join(lines[:1] + lines[1:][-1:])}"])

    async def some() -> None:
        for name in remaining:
            began = monotonic()
            outcomes[name] = await one(name)
            seconds[name] = monotonic() - began
            tell(name, outcomes[name])

    await asyncio.gather(*(some() for _ in range(at_once)))
    return {name: outcomes[name] for name in names}, seconds
