"""``python -m bench`` at its smallest: every workload runs once and counts; and what is made of the figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.api import find_nginx
from bench.load import find_compiler
from bench.report import Result, table
from bench.rig import Measurement
from bench.workloads import all_workloads
from tests.processes import ROOT, start

RUN_LIMIT = 120.0  #: seconds; some ten are enough on an idle machine


def result(*rounds: Measurement) -> Result:
    """A result with one metric, ``pushes``."""
    return Result("wsaas", "pushes-64", {"pushes": "1/s"}, True, rounds)


def measurement(pushes: float, *faults: str, busy: float = 1.0) -> Measurement:
    """A run with a figure, and with the share of its core that the system used."""
    return Measurement({"pushes": pushes}, {"system": busy, "api": 0.2, "load": 0.9}, list(faults))


class ReportTests(SynchronousTestCase):
    """What is made of the rounds."""

    def test_median(self) -> None:
        """The median, not the mean, and with the extremes beside it."""
        pushes = result(measurement(1000.0), measurement(9000.0), measurement(1200.0))
        self.assertEqual(pushes.median("pushes"), 1200.0)
        self.assertRegex(table([pushes]), r"pushes +1,200 +1,000 +9,000 +1/s +100% +20% +90%")

    def test_void_rounds(self) -> None:
        """A void round does not count, and the table says why it is void."""
        pushes = result(measurement(1000.0), measurement(9000.0, "load saturated: 90%"))
        self.assertEqual(pushes.median("pushes"), 1000.0)
        self.assertIn("wsaas pushes-64, round 2 is void: load saturated: 90%", table([pushes]))

    def test_lower_bound(self) -> None:
        """A system that was not busy all the time might have done more, and the table says so."""
        self.assertIn("wsaas pushes-64, the system did not", table([result(measurement(1000.0, busy=0.8))]))
        self.assertNotIn("did not", table([result(measurement(1000.0, busy=0.95))]))

    def test_nothing_left(self) -> None:
        """Without a single good round there is no figure."""
        pushes = result(measurement(9000.0, "load saturated: 90%"))
        self.assertIsNone(pushes.median("pushes"))
        self.assertRegex(table([pushes]), r"pushes +void +void +void")
        self.assertIsNone(pushes.as_json()["metrics"]["pushes"]["median"])


class CommandTests(SynchronousTestCase):
    """The command itself."""

    def call(self, *arguments: str) -> tuple[int, str]:
        """
        Run ``python -m bench``.

        :returns: its exit status and what it wrote.
        """
        program = start(self, [sys.executable, "-m", "bench", *arguments], cwd=ROOT)
        return program.wait(RUN_LIMIT), program.output

    def test_impossible(self) -> None:
        """What cannot be measured is said in one line, before anything starts."""
        status, output = self.call("--idle", "10", "100000000")
        self.assertEqual(status, 1)
        self.assertRegex(output, r"\Athe limit of open files is \d+: too low for so many clients\n\Z")

    def test_every_workload(self) -> None:
        """Tiny counts: the figures mean nothing, but each is above zero, and the JSON tells all that was asked for."""
        file = Path(self.mktemp())
        _, output = self.call(
            *("--rounds", "1", "--seconds", "0.5", "--clients", "4", "--idle", "5", "20", "--idle-seconds", "0.5"),
            *("--json", str(file.absolute())),
        )
        self.assertTrue(file.exists(), output)
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
        self.assertTrue(report["command"].startswith("python -m bench --rounds 1"))
        self.assertLessEqual({"cpu", "cores", "memory_mib", "kernel"}, report["machine"].keys())
        self.assertLessEqual({"python", "twisted", "autobahn", "treq", "nginx", "wsaas"}, report["versions"].keys())
        self.assertEqual(report["plan"]["idle"], [5, 20])
        self.assertEqual([entry["workload"] for entry in report["results"]], list(all_workloads()))
        for entry in report["results"]:
            (only,) = entry["rounds"]
            # On a busy machine of two cores a run may be void; then no client may have met an error all the same.
            self.assertFalse([fault for fault in only["faults"] if "error" in fault or "open" in fault], output)
            for metric in {"messages", "pushes", "accepted", "handshakes", "closes", "base"} & only["values"].keys():
                self.assertGreater(only["values"][metric], 0, f"{entry['workload']}: {metric}")

    if find_nginx() is None or find_compiler() is None:
        test_every_workload.skip = "nginx and a C compiler are needed"  # type: ignore[attr-defined]  # read by trial
