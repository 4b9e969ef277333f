"""The scenarios, by name, each with the promise that it tries."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial

from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.scenarios.conformance import conformance
from bench.faults.scenarios.crowding import joins, publishes
from bench.faults.scenarios.drain import drain
from bench.faults.scenarios.fairness import fairness
from bench.faults.scenarios.kill import kill
from bench.faults.scenarios.members import deaf, interrupted
from bench.faults.scenarios.memory import memory, pushed
from bench.faults.scenarios.network import LEGS, WEATHERS, network
from bench.faults.scenarios.outage import FAULTS, outage
from bench.faults.scenarios.soak import soak


@dataclass(frozen=True)
class Scenario:
    """
    One thing that breaks.

    :param group: what it is shown with.
    :param run: breaks it, and says what came of it.
    """

    group: str
    run: Callable[[Plan], Coroutine[object, object, Outcome]]


def _attackers(kind: str) -> Callable[[Plan], Coroutine[object, object, Outcome]]:
    async def run(plan: Plan) -> Outcome:
        return await memory(plan, kind, plan.silent if kind in ("silent", "mute") else plan.attackers)

    return run


def all_scenarios() -> Mapping[str, Scenario]:
    """Every scenario by its name."""
    found: dict[str, Scenario] = {"kill": Scenario("kill -9", kill)}
    for hanging in (False, True):
        name = "drain-api-hanging" if hanging else "drain"
        found[name] = Scenario("SIGTERM", partial(drain, hanging=hanging))
    for fault in FAULTS:
        found[f"api-{fault}"] = Scenario("the API", partial(outage, fault=fault, patient=True))
        found[f"api-{fault}-too-long"] = Scenario("the API", partial(outage, fault=fault, patient=False))
    for leg in LEGS:
        for name, weather in WEATHERS.items():
            found[f"network-{leg}-{name}"] = Scenario("the network", partial(network, leg=leg, weather=weather))
    found["memory-pushed"] = Scenario("memory", pushed)
    for kind in ("silent", "mute", "dripping", "fragmenting", "bombing", "heading", "ignoring"):
        found[f"memory-{kind}"] = Scenario("memory", _attackers(kind))
    floods = ("pinging", "ponging", "lingering", "requesting", "guessing")
    for kind in ("silent", "mute", "dripping", "fragmenting", *floods, "bombing", "heading", "deaf"):
        found[f"fair-{kind}"] = Scenario("fairness", partial(fairness, kind=kind))
    found["groups-deaf"] = Scenario("groups", deaf)
    found["groups-joins"] = Scenario("groups", joins)
    found["groups-publishes"] = Scenario("groups", publishes)
    found["groups-kill"] = Scenario("groups", partial(interrupted, killed=True))
    found["groups-drain"] = Scenario("groups", partial(interrupted, killed=False))
    found["soak"] = Scenario("soak", soak)
    found["conformance"] = Scenario("conformance", conformance)
    return found
