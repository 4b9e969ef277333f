"""The Autobahn TestSuite's cases, through an API that echoes, with compression on (``kosoku``, in the extra 'dev')."""

from __future__ import annotations

import asyncio
import json
import sysconfig
from collections import Counter
from pathlib import Path

from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import set_up

KOSOKU = Path(sysconfig.get_path("scripts"), "kosoku")
LARGEST_MESSAGE = 16 * 2**20  #: bytes: cases 9.1.6 and 9.2.6 go to the limit itself
PARALLEL = 8  #: cases at a time
LIMIT = 1800.0  #: seconds for all of them
PASSED = {"OK", "INFORMATIONAL"}  #: neither NON-STRICT nor UNIMPLEMENTED is good enough


async def conformance(plan: Plan) -> Outcome:
    """Run the cases of the plan."""
    outcome = Outcome()
    if not KOSOKU.exists():
        outcome.skipped = "kosoku is not installed"
        return outcome
    settings = {
        "WS_COMPRESSION": "on",
        "WS_MAX_MESSAGE": str(LARGEST_MESSAGE),
        "WS_MAX_BUFFER": str(4 * LARGEST_MESSAGE),
        "API_TIMEOUT": "60000",
        # A case fails when it meets a ping that it did not ask for: let none be due while one runs.
        "WS_TIMEOUT": "240000",
    }
    async with set_up(settings) as rig:
        await rig.api.script(PUT="echo")
        reports = rig.folder / "reports"
        kosoku = await asyncio.create_subprocess_exec(
            KOSOKU,
            f"127.0.0.1:{rig.port}",
            *(f"--include={pattern}" for pattern in plan.cases),
            f"--parallelism={PARALLEL}",
            f"--outdir={reports}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await asyncio.wait_for(kosoku.wait(), LIMIT)
        except TimeoutError:
            kosoku.kill()
            await kosoku.wait()
            outcome.problems.append(f"not finished after {LIMIT:.0f} s")
        counts = await rig.api.quiet(30)
        results = read_reports(reports)
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    outcome.add([f"case {case}: {'; '.join(said)}" for case, said in results.items() if not PASSED.issuperset(said)])
    outcome.figures = {"cases": len(results), "connections": counts.granted, "DELETEs missing": counts.owed}
    outcome.figures |= dict(Counter(said[0] for said in results.values()))
    outcome.check(bool(results), "no case was run")
    outcome.check(counts.granted == len(results) and not counts.owed, "not every case had its POST and its DELETE")
    return outcome


def read_reports(folder: Path) -> dict[str, tuple[str, str]]:
    """By case, what the suite says of what was exchanged and of how it closed."""
    found: dict[str, tuple[str, str]] = {}
    index = folder / "index.json"
    if index.exists():
        # Grouped by the peer's Server header.
        for entries in json.loads(index.read_text("utf-8")).values():
            for case, entry in entries.items():
                report = json.loads((folder / entry["reportfile"]).read_text("utf-8"))
                found[case] = (report["behavior"], report["behaviorClose"])
    return found
