"""``python -m bench`` at its smallest: each kind of workload runs once and counts; and what is made of the figures."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from twisted.trial.unittest import SynchronousTestCase

from bench.api import Api, Counts
from bench.load import compile_programs, find_compiler
from bench.page import BEGIN, END, write_page
from bench.plot import write_plots
from bench.programs import BenchError
from bench.report import Result, table
from bench.rig import Measurement
from bench.targets import Outcome, outcome_table, outcomes
from bench.workloads import all_workloads
from tests.processes import ROOT, start

RUN_LIMIT = 120.0  #: seconds; some forty are enough on an idle machine
#: One of each kind; the others differ from these in a number.
SMOKE = ("messages-64", "pushes-64", "handshakes", "echo-64", "messages-64-tls", "idle", "idle-tls")
NEEDS_COMPILER = None if find_compiler() else "a C compiler is needed"


def result(*rounds: Measurement, system: str = "wsaas") -> Result:
    """A result with one metric, ``pushes``."""
    return Result(system, "pushes-64", {"pushes": "1/s"}, True, rounds)


def measurement(pushes: float, *faults: str, busy: float = 1.0, others: float = 0.0) -> Measurement:
    """A run with a figure, and with the shares of its core that the system and others used."""
    shares = {"system": busy, "api": 0.2, "load": 0.8, "others": others}
    return Measurement({"pushes": pushes}, shares, list(faults))


def idle(**values: float) -> Result:
    """A result of idle clients."""
    shares = {"system": 0.02, "api": 0.0, "load": 0.0, "others": 0.0}
    return Result("wsaas", "idle", dict.fromkeys(values, ""), False, [Measurement(values, shares)])


class ReportTests(SynchronousTestCase):
    """What is made of the rounds."""

    def test_median(self) -> None:
        """The median, not the mean, and with the extremes beside it."""
        pushes = result(measurement(1000.0), measurement(9000.0), measurement(1200.0))
        self.assertEqual(pushes.median("pushes"), 1200.0)
        self.assertRegex(table([pushes]), r"pushes +wsaas +1,200 +1,000 +9,000 +1,200 +1/s +100% +20% +80%")

    def test_by_cpu(self) -> None:
        """A system that got half of its core did as much as twice its figure for a second of CPU time."""
        pushes = result(measurement(1000.0, busy=0.5), measurement(1500.0, busy=0.6), measurement(1200.0))
        self.assertEqual(pushes.median_by_cpu("pushes"), 2000.0)

    def test_void_rounds(self) -> None:
        """A void round does not count, and the table says why it is void."""
        pushes = result(measurement(1000.0), measurement(9000.0, "load saturated: 90%"))
        self.assertEqual(pushes.median("pushes"), 1000.0)
        self.assertIn("wsaas pushes-64, round 2 is void: load saturated: 90%", table([pushes]))

    def test_lower_bound(self) -> None:
        """A system that was not busy all the time might have done more, and the table says so."""
        self.assertIn("wsaas pushes-64, the system did not", table([result(measurement(1000.0, busy=0.8))]))
        self.assertNotIn("did not", table([result(measurement(1000.0, busy=0.95))]))

    def test_shared_core(self) -> None:
        """Whoever else was on the system's core is named as a reason."""
        self.assertIn("others used or withheld 30%", table([result(measurement(1000.0, busy=0.7, others=0.3))]))
        self.assertNotIn("others", table([result(measurement(1000.0, others=0.01))]))

    def test_part_of_a_run(self) -> None:
        """What one part of a run could not yield does not spoil what the others did."""
        shares = {"system": 0.1, "api": 0.0, "load": 0.0, "others": 0.0}
        rounds = [Measurement({"memory": 10.0}, shares, notes=["no figures with churn: 2 errors"])]
        shown = table([Result("pushpin", "idle", {"memory": "KiB", "lag": "ms"}, False, rounds)])
        self.assertRegex(shown, r"memory +pushpin +10 ")
        self.assertRegex(shown, r"lag +pushpin +void ")
        self.assertIn("pushpin idle, round 1: no figures with churn: 2 errors", shown)

    def test_nothing_left(self) -> None:
        """Without a single good round there is no figure."""
        pushes = result(measurement(9000.0, "load saturated: 90%"))
        self.assertIsNone(pushes.median("pushes"))
        self.assertRegex(table([pushes]), r"pushes +wsaas +void +void +void")
        self.assertIsNone(pushes.as_json()["metrics"]["pushes"]["median"])


class TargetTests(SynchronousTestCase):
    """What is said about the goals."""

    def test_ratios(self) -> None:
        """The figure divided by that of each other system that was measured, by time and by CPU time."""
        ours, stock = result(measurement(6000.0, busy=0.5)), result(measurement(1000.0), system="stock")
        (outcome,) = outcomes([ours, stock], 18000, 19000)
        self.assertEqual(outcome, Outcome("pushes-64: pushes, to stock", 6.0, 4.5, False, by_cpu=12.0))
        self.assertRegex(outcome_table([outcome]), r"to stock +6 +12 +≥ 4.5 +times +yes\Z")

    def test_projection(self) -> None:
        """Memory and pings of many clients, from slope and intercept, and from the share of a core."""
        figures = {o.what: o for o in outcomes([idle(memory=5.0, base=100.0, cpu=2.0, pings=1267.0)], 18000, 20000)}
        self.assertAlmostEqual(figures["idle: memory, projected to 100,000 clients"].value, 0.617, 3)
        self.assertEqual(figures["idle: pings, projected to 100,000 clients"].value, 10.0)
        self.assertTrue(all(outcome.reached for outcome in figures.values()))

    def test_no_pings(self) -> None:
        """A window too short for pings says nothing about their cost."""
        found = outcomes([idle(memory=9.0, base=100.0, cpu=0.0, pings=0.0)], 18000, 19000)
        self.assertNotIn("pings", " ".join(outcome.what for outcome in found))
        self.assertFalse(found[0].reached)


class PlotTests(SynchronousTestCase):
    """The plots."""

    def test_bars(self) -> None:
        """One well-formed SVG for the workloads that there are figures for, with every figure in it."""
        folder = Path(self.mktemp())
        results = [result(measurement(6000.0)), result(measurement(1000.0), system="stock")]
        (file,) = write_plots(results, folder)
        self.assertEqual(file, folder / "pushes.svg")
        svg = ET.fromstring(file.read_text("utf-8"))
        self.assertLessEqual({"6,000", "1,000", "wsaas", "stock"}, set(svg.itertext()))


class PageTests(SynchronousTestCase):
    """The figures in the documentation."""

    def test_figures_are_replaced(self) -> None:
        """What stands between the comments is written anew, what stands around them stays."""
        folder = Path(self.mktemp())
        folder.mkdir()
        page = folder / "page.rst"
        page.write_text(f"Title\n=====\n\n{BEGIN} page.rst\n{END}\n\nMore.\n", "utf-8")
        write_page(page, "old", [])
        write_page(page, "a table\nof two lines\n", [folder / "plots" / "pushes.svg"])
        self.assertEqual(
            page.read_text("utf-8"),
            f"Title\n=====\n\n{BEGIN} page.rst\n\n.. image:: plots/pushes.svg\n   :alt: pushes\n\n"
            f"::\n\n   a table\n   of two lines\n\n{END}\n\nMore.\n",
        )

    def test_no_place(self) -> None:
        """A page without the comments is left alone."""
        page = Path(self.mktemp())
        page.write_text("Title\n", "utf-8")
        self.assertRaises(BenchError, write_page, page, "a table", [])
        self.assertEqual(page.read_text("utf-8"), "Title\n")

    def test_the_page_has_a_place(self) -> None:
        """The documentation has the place that the command writes to."""
        page = (ROOT / "docs" / "benchmarks.rst").read_text("utf-8")
        self.assertLess(page.index(BEGIN), page.index(END))


class SinkTests(SynchronousTestCase):
    """The API that the systems under test call."""

    if NEEDS_COMPILER:
        skip = NEEDS_COMPILER

    def setUp(self) -> None:
        """A running API and a connection to it."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.api = Api(compile_programs(folder).sink, folder, 0, 60)
        self.addCleanup(self.api.stop)
        self.client = socket.create_connection(("127.0.0.1", self.api.port), timeout=20)
        self.addCleanup(self.client.close)

    def call(self, *requests: str) -> str:
        """Send requests in one segment and read until as many answers ended, or the connection did."""
        self.client.sendall("".join(requests).encode("ascii"))
        answers = b""
        while answers.count(b"HTTP/1.1 ") < len(requests) or not answers.endswith((b"\r\n\r\n", b"}", b"!", b"\r\n")):
            received = self.client.recv(65536)
            if not received:
                break
            answers += received
        return answers.decode("ascii")

    def request(self, method: str, body: str, path: str = "/api", fields: str = "") -> str:
        """One request."""
        return f"{method} {path} HTTP/1.1\r\nHost: api\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}"

    def test_counts(self) -> None:
        """Each kind of call counts as what it is, also when they arrive together."""
        answers = self.call(
            self.request("POST", '{"ws_uri": "http://gate/key"}'), self.request("PUT", "m"), self.request("DELETE", "")
        )
        self.assertIn('{"code": "OK"}', answers)
        self.assertEqual(self.api.counts(), Counts(connects=1, messages=1, goodbyes=1, requests=3, malformed=0))
        self.assertEqual(self.api.ws_uris(1, 5), ["http://gate/key"])

    def test_echo(self) -> None:
        """A message on /echo is answered with itself."""
        answer = self.call(self.request("PUT", "hello!", "/echo"))
        self.assertIn("Ws-Reply: text\r\n", answer)
        self.assertTrue(answer.endswith("\r\n\r\nhello!"))

    def test_events(self) -> None:
        """Each event of WebSocket-over-HTTP counts; a client's channel is its connection."""
        fields = "Content-Type: application/websocket-events\r\nConnection-Id: c1\r\n"
        answer = self.call(self.request("POST", "OPEN\r\n", "/echo", fields))
        self.assertIn("Sec-WebSocket-Extensions: grip", answer)
        self.assertIn('c:{"type": "subscribe", "channel": "c1"}', answer)
        answer = self.call(self.request("POST", "TEXT 1\r\na\r\nTEXT 2\r\nbb\r\nDISCONNECT\r\n", "/echo", fields))
        self.assertTrue(answer.endswith("\r\n\r\nTEXT 1\r\na\r\nTEXT 2\r\nbb\r\n"))
        self.assertEqual(self.api.counts(), Counts(connects=1, messages=2, goodbyes=1, requests=2, malformed=0))

    def test_malformed(self) -> None:
        """What it does not understand counts as such, so that it voids a run."""
        self.assertEqual(self.call("PUT /api HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nm\r\n0\r\n\r\n"), "")
        self.assertEqual(self.api.counts().malformed, 1)


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
        status, output = self.call("--idle", "10,100000000")
        self.assertEqual(status, 1)
        self.assertRegex(output, r"\Athe limit of open files is \d+: too low for so many clients\n\Z")

    def test_smoke(self) -> None:
        """Tiny counts: the figures mean nothing, but each is above zero, and the JSON tells all that was asked for."""
        file = Path(self.mktemp()).absolute()
        chosen = [f"--workload={name}" for name in SMOKE]
        _, output = self.call(
            *chosen,
            *(
                "--quick",
                "--warm",
                "0.1",
                "--seconds",
                "0.3",
                "--clients",
                "4",
                "--crowd",
                "8",
                "--idle",
                "5,20",
                "--idle-tls",
                "5,20",
            ),
            *("--idle-seconds", "0.3", "--churn-seconds", "0.3", "--json", str(file)),
        )
        self.assertTrue(file.exists(), output)
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
        self.assertTrue(report["command"].startswith("python -m bench --workload=messages-64 "))
        self.assertLessEqual({"cpu", "cores", "memory_mib", "kernel"}, report["machine"].keys())
        self.assertLessEqual({"python", "twisted", "autobahn", "treq", "wsaas", "stock"}, report["versions"].keys())
        self.assertEqual(report["plan"]["idle"], [5, 20])
        measured = {(entry["system"], entry["workload"]) for entry in report["results"]}
        tls = "left out: OpenSSL's headers" not in output
        names = [name for name in SMOKE if tls or not all_workloads()[name].tls]
        self.assertEqual(measured, {(system, name) for system in ("wsaas", "stock") for name in names})
        for entry in report["results"]:
            (only,) = entry["rounds"]
            # On a busy machine of two cores a run may be void; then no client may have met an error all the same.
            self.assertFalse([note for note in only["notes"] if "shares" not in note], output)
            self.assertFalse([f for f in only["faults"] if "saturated" not in f and "shares" not in f], output)
            for metric in only["values"].keys() & {"messages", "pushes", "accepted", "handshakes", "highest", "p50"}:
                self.assertGreater(only["values"][metric], 0, f"{entry['workload']}: {metric}")
        status, shown = self.call("--report", str(file))
        few = len(os.sched_getaffinity(0)) < 3
        self.assertIn("at least three are needed" if few else "messages-64: messages, to stock", shown)
        self.assertIn(status, (0, 1))

    def test_settings_that_may_cost(self) -> None:
        """With all limits on, the clients get in and the pushers are let through; with a secret, calls are signed."""
        file = Path(self.mktemp()).absolute()
        few = ("--quick", "--warm", "0.1", "--seconds", "0.2", "--clients", "4", "--json", str(file))
        _, output = self.call("--system=wsaas-limits", "--system=wsaas-signed", "--workload=pushes-64", *few)
        self.assertTrue(file.exists(), output)
        for entry in json.loads(file.read_text("utf-8"))["results"]:
            (only,) = entry["rounds"]
            self.assertGreater(only["values"]["pushes"], 0, entry["system"])
            self.assertNotIn("errors", "".join(only["faults"]))

    if NEEDS_COMPILER:
        test_smoke.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # read by trial
        test_settings_that_may_cost.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # ditto
