"""``python -m bench`` at its smallest: each kind of workload runs once and counts; and what is made of the figures."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from twisted.trial.unittest import SynchronousTestCase

from bench import against
from bench.__main__ import FAMILIES, all_of
from bench.api import Api, Counts
from bench.checkout import HERE, PLUGIN, Checkout
from bench.load import NUMBER, Load, Work, compile_programs, find_compiler
from bench.machine import Cores, assign_cores
from bench.page import BEGIN, END, write_page
from bench.plot import write_plots
from bench.programs import BenchError
from bench.report import BY_CPU_COUNTS, Result, table
from bench.rig import Measurement, load_side_limits
from bench.systems import GROUP, SUBSCRIBE, USER, put_message
from bench.targets import Outcome, outcome_table, outcomes
from bench.workloads import all_workloads
from bench.workloads.pushes import VARIANTS, with_chunks, with_key
from tests.processes import ROOT, start
from wsaas import __version__

RUN_LIMIT = 120.0  #: seconds; some forty are enough on an idle machine
#: One of each kind; the others differ from these in a number.
SMOKE = ("messages-64", "pushes-64", "handshakes", "echo-64", "messages-64-tls", "idle", "idle-tls")
NEEDS_COMPILER = None if find_compiler() else "a C compiler is needed"


def result(*rounds: Measurement, system: str = "wsaas") -> Result:
    """A result with one metric, ``pushes``."""
    return Result(system, "pushes-64", {"pushes": "1/s"}, True, rounds)


def measurement(
    pushes: float, *faults: str, busy: float = 1.0, others: float = 0.0, limits: Sequence[str] = ()
) -> Measurement:
    """A run with a figure, and with the shares of its core that the system and others used."""
    shares = {"system": busy, "api": 0.2, "load": 0.8, "others": others}
    return Measurement({"pushes": pushes}, shares, list(faults), limits=list(limits))


def idle(system: str = "wsaas", unit: str = "", **values: float) -> Result:
    """A result of idle clients."""
    shares = {"system": 0.02, "api": 0.0, "load": 0.0, "others": 0.0}
    return Result(system, "idle", dict.fromkeys(values, unit), False, [Measurement(values, shares)])


class CoreTests(SynchronousTestCase):
    """Who runs where, and what that means for the rules."""

    def assigned(self, *allowed: int) -> Cores:
        """What is assigned to a process that may use these cores."""
        self.patch(os, "sched_getaffinity", lambda _pid: set(allowed))
        return assign_cores()

    def test_one_core_each(self) -> None:
        """With three cores or more, nobody shares; each of the load side is judged by itself."""
        cores = self.assigned(3, 4, 6, 7)
        self.assertEqual(cores, Cores(system=3, api=4, load=6))
        self.assertEqual(cores.describe(), "system on core 3, API on core 4, load generator on core 6")
        self.assertEqual(load_side_limits({"api": 0.5, "load": 0.8}, cores), [])
        self.assertEqual(load_side_limits({"api": 0.9, "load": 0.8}, cores), ["api saturated: 90%"])

    def test_two_cores(self) -> None:
        """With two, API and generator share the one that the system has not, and their shares add up."""
        cores = self.assigned(0, 1)
        self.assertEqual(cores, Cores(system=0, api=1, load=1))
        self.assertFalse(cores.shared)
        self.assertIn("API and load generator together on core 1", cores.describe())
        self.assertEqual(load_side_limits({"api": 0.3, "load": 0.5}, cores), [])
        self.assertEqual(
            load_side_limits({"api": 0.4, "load": 0.5}, cores), ["api and load saturated the core that they share: 90%"]
        )

    def test_one_core(self) -> None:
        """With one, the system has to share it."""
        cores = self.assigned(2)
        self.assertTrue(cores.shared)
        self.assertEqual(cores.describe(), "everything on core 2")


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

    def test_void_rates(self) -> None:
        """Where the load side was the bottleneck, rates do not count, CPU time does, and the table says why."""
        limit = "api and load saturated the core that they share: 91%"
        pushes = result(measurement(950.0, busy=0.95, limits=[limit]))
        self.assertIsNone(pushes.median("pushes"))
        self.assertEqual(pushes.median_by_cpu("pushes"), 1000.0)
        shown = table([pushes])
        self.assertRegex(shown, r"pushes +wsaas +void +void +void +1,000 ")
        self.assertIn(f"wsaas pushes-64, the rates of round 1 are void: {limit}\n{BY_CPU_COUNTS}", shown)
        self.assertNotIn(BY_CPU_COUNTS, table([result(measurement(1000.0))]))

    def test_void_latencies(self) -> None:
        """What is not about saturation has no figures by CPU: then such a round is void."""
        shares = {"system": 0.5, "api": 0.4, "load": 0.5, "others": 0.0}
        echo = Result("wsaas", "echo-64", {"p50": "ms"}, False, [Measurement({"p50": 1.0}, shares, limits=["90%"])])
        self.assertRegex(table([echo]), r"p50 +wsaas +void +void +void +ms")
        self.assertIn("wsaas echo-64, round 1 is void: 90%", table([echo]))

    def test_idle_core(self) -> None:
        """CPU time says less of a system that had to wait; one that was kept off its core did not wait."""
        waited, kept_off = measurement(1000.0, busy=0.6), measurement(1000.0, busy=0.6, others=0.4)
        self.assertIn("core was idle for 40% of the time: figures by CPU are rough", table([result(waited)]))
        self.assertNotIn("idle", table([result(kept_off)]))

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

    def test_void_ratio(self) -> None:
        """Without rates that count, the goal is judged by CPU."""
        ours = result(measurement(6000.0, limits=["load saturated: 90%"]))
        stock = result(measurement(500.0, busy=0.5), system="stock")
        (outcome,) = outcomes([ours, stock], 18000, 19000)
        self.assertEqual(outcome, Outcome("pushes-64: pushes, to stock", None, 4.5, False, by_cpu=6.0))
        self.assertRegex(outcome_table([outcome]), r"to stock +void +6 +≥ 4.5 +times +yes, by CPU\Z")

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


class AgainstTests(SynchronousTestCase):
    """Two checkouts compared."""

    def compare(self, before: Sequence[Measurement], now: Sequence[Measurement]) -> against.Change:
        """What became of the pushes."""
        (change,) = against.changes([result(*now), result(*before, system=against.BEFORE)])
        return change

    def test_ratio(self) -> None:
        """By CPU, of the medians, with the extremes of single rounds beside it, and the ratio of the rates."""
        change = self.compare(
            [measurement(1000.0), measurement(500.0, busy=0.5, others=0.5), measurement(2000.0)],
            [measurement(1100.0), measurement(900.0), measurement(2200.0)],
        )
        self.assertAlmostEqual(change.ratio or 0, 1.1)
        shown = against.change_table([change])
        self.assertRegex(shown, r"pushes +1,000 +1,100 +1.100 +0.900 +1.100 +1.100 +3 of 3 +1/CPU s\n")
        self.assertTrue(shown.endswith(against.NOTE))

    def test_rounds_with_pauses(self) -> None:
        """A round in which one of the two had to wait is left out, as long as there are more of the others."""
        steady, waited = measurement(1000.0), measurement(300.0, busy=0.5)
        change = self.compare([steady] * 3, [waited, measurement(900.0), measurement(900.0)])
        self.assertEqual((change.ratio, change.sound, change.rounds), (0.9, 2, 3))
        self.assertEqual(self.compare([steady], [waited]).ratio, 0.6)

    def test_rounds_on_a_crowded_core(self) -> None:
        """So is one in which one of the two got too little of its core."""
        steady, crowded = measurement(1000.0), measurement(300.0, busy=0.2, others=0.8)
        self.assertEqual(self.compare([steady, steady], [crowded, measurement(900.0)]).sound, 1)

    def test_void(self) -> None:
        """Without a round in which both count there is no ratio."""
        change = self.compare([measurement(1000.0)], [measurement(1000.0, "2 errors")])
        self.assertIsNone(change.ratio)
        self.assertRegex(against.change_table([change]), r"pushes +(void +){5}0 of 1")

    def test_memory(self) -> None:
        """Memory in bytes, so that small differences show."""
        results = [idle(unit="KiB/client", memory=3.75), idle(against.BEFORE, "KiB/client", memory=3.7)]
        self.assertRegex(
            against.change_table(against.changes(results)), r"memory +3,789 +3,840 +1.014 .* 1 of 1 +B/client"
        )

    def test_nothing_to_compare(self) -> None:
        """Without another checkout there is no such table."""
        self.assertEqual(against.changes([result(measurement(1000.0))]), [])


class CheckoutTests(SynchronousTestCase):
    """Checkouts are told apart by what an interpreter finds in them."""

    def checkout(self, package: str) -> Checkout:
        """A folder with a plugin and a package of one module."""
        folder = Path(self.mktemp()).absolute()
        for file, text in ((folder / PLUGIN, ""), (folder / "wsaas" / "__init__.py", package)):
            file.parent.mkdir(parents=True)
            file.write_text(text, "utf-8")
        return Checkout(folder)

    def test_here(self) -> None:
        """This one can be run, and its version is what the package says."""
        self.assertIsNone(HERE.problem())
        self.assertTrue(HERE.version().startswith(__version__))

    def test_another(self) -> None:
        """Another one's package is found, not this one's."""
        other = self.checkout('__version__ = "9.9"\n')
        self.assertIsNone(other.problem())
        self.assertEqual(other.version(), "9.9")

    def test_none(self) -> None:
        """What cannot be run is told in one line."""
        self.assertEqual(Checkout(Path(self.mktemp())).problem(), f"it has no {PLUGIN}")
        broken = self.checkout("import nothing_of_that_name\n").problem()
        self.assertRegex(broken or "", r"cannot import its package: ModuleNotFoundError: .*nothing_of_that_name'\Z")

    def test_a_package_from_elsewhere(self) -> None:
        """A folder without a package does not pass for one because another is installed."""
        empty = self.checkout("")
        (empty.path / "wsaas" / "__init__.py").unlink()
        (empty.path / "wsaas").rmdir()
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": str(ROOT)})
        self.assertIn("finds another wsaas: ", empty.problem() or "")


class RequestTests(SynchronousTestCase):
    """Pushes with something special about them."""

    plain = put_message("http://127.0.0.1:8080/key", b"p" * 20)

    def test_key(self) -> None:
        """A place for a number that no two requests share; the rest is as it was."""
        field = b"Idempotency-Key: " + NUMBER + b"\r\n"
        self.assertEqual(with_key(self.plain).replace(field, b""), self.plain)

    def test_chunks(self) -> None:
        """The body as a chunk, and no length beside it."""
        head, _, body = with_chunks(self.plain).partition(b"\r\n\r\n")
        self.assertEqual(body, b"14\r\n" + b"p" * 20 + b"\r\n0\r\n\r\n")
        self.assertTrue(head.endswith(b"\r\nTransfer-Encoding: chunked"))
        self.assertNotIn(b"Content-Length", head)


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
        self.assertEqual(self.api.counts(), Counts(connects=1, messages=1, disconnects=1, requests=3, malformed=0))
        self.assertEqual(self.api.ws_uris(1, 5), ["http://gate/key"])

    def test_groups(self) -> None:
        """A client that asked for it joins the group, or is one of the user's; others are neither."""
        fields = [f"Ws-Path: {path}\r\n" for path in (SUBSCRIBE, USER, "/")]
        answers = [self.call(self.request("POST", "", fields=each)) for each in fields]
        found = [re.findall(r"^Ws-.*$", answer.replace("\r", ""), re.MULTILINE) for answer in answers]
        self.assertEqual(found, [[f"Ws-Join: {GROUP}"], [f"Ws-User: {GROUP}"], []])

    def test_group_of_events(self) -> None:
        """A client of WebSocket-over-HTTP, too."""
        fields = "Content-Type: application/websocket-events\r\nConnection-Id: c1\r\n"
        self.assertIn(f'"channel": "{GROUP}"', self.call(self.request("POST", "OPEN\r\n", SUBSCRIBE, fields)))

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
        self.assertEqual(self.api.counts(), Counts(connects=1, messages=2, disconnects=1, requests=2, malformed=0))

    def test_malformed(self) -> None:
        """What it does not understand counts as such, so that it voids a run."""
        self.assertEqual(self.call("PUT /api HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nm\r\n0\r\n\r\n"), "")
        self.assertEqual(self.api.counts().malformed, 1)


class OrderTests(SynchronousTestCase):
    """What the generator makes of messages that were published to its clients."""

    if NEEDS_COMPILER:
        skip = NEEDS_COMPILER

    def run_with(self, *streams: bytes) -> Work:
        """
        Run the generator against a gateway by hand.

        :param streams: what it sends to each client.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        clients: list[socket.socket] = []
        unsent = list(streams)

        def accept() -> None:
            for _ in streams:
                client = listener.accept()[0]
                client.recv(65536)
                client.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                )
                clients.append(client)
                self.addCleanup(client.close)

        def send() -> None:
            # Called at the end, too.
            while unsent:
                clients[len(unsent) - 1].sendall(unsent.pop())

        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with Load(compile_programs(folder).load, "publish", port, 0, folder, 60) as load:
                accepting = threading.Thread(target=accept)
                accepting.start()
                load.open(len(streams))
                accepting.join()
                return load.run(0, 0.3, send)

    def published(self, *numbers: int) -> bytes:
        """Frames with numbered messages."""
        return b"".join(b"\x81\x14%016d...." % number for number in numbers)

    def test_order(self) -> None:
        """All get the same messages, whatever the numbers; one may have more of them yet."""
        work = self.run_with(self.published(7, 5, 6), self.published(7, 5))
        self.assertEqual((work.received, work.errors, work.latencies), (5, 0, 5))

    def test_several_in_a_message(self) -> None:
        """Lines of one message count each; what has no number does not."""
        lines = b'{"data":"%016d..."}\n{"data":"%016d"}' % (1, 2)
        work = self.run_with(b"\x81%c%b" % (len(lines), lines) + b"\x81\x02{}", self.published(1, 2))
        self.assertEqual((work.received, work.errors), (4, 0))

    def test_gap(self) -> None:
        """A message that one of them lacks, or got too early, is an error."""
        work = self.run_with(self.published(1, 2, 3), self.published(1, 3))
        self.assertEqual(work.errors, 1)
        self.assertIn(" where others got ", work.first_error)


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

    def test_families(self) -> None:
        """A name for several workloads stands for ones that there are."""
        known = all_workloads()
        for names in FAMILIES.values():
            self.assertLessEqual(set(names), known.keys())
        self.assertEqual(all_of(["publish-5000", "idle"]), [*FAMILIES["publish-5000"], "idle"])

    def test_inability(self) -> None:
        """What a system cannot do is not measured, and says nothing about it."""
        status, output = self.call("--quick", "--system=stock", "--workload=publish-64")
        self.assertEqual((status, output), (1, "nothing is left to measure\n"))

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
            self.assertFalse([note for note in only["notes"] if "share" not in note and "satur" not in note], output)
            self.assertFalse([fault for fault in only["faults"] if "shares" not in fault], output)
            if only["busy"]["others"] > 0.5:
                continue  # it was kept off its core, perhaps all the time
            for metric in only["values"].keys() & {"messages", "pushes", "accepted", "handshakes", "highest", "p50"}:
                self.assertGreater(only["values"][metric], 0, f"{entry['workload']}: {metric}")
        status, shown = self.call("--report", str(file))
        single = len(os.sched_getaffinity(0)) < 2
        self.assertIn("at least two are needed" if single else ", to stock", shown)
        self.assertIn(f"\nplacement: {assign_cores().describe()}\n", shown)
        self.assertIn(status, (0, 1))

    def test_publish(self) -> None:
        """Each member has every publish, in one order; pushes go between; a membership costs something."""
        file = Path(self.mktemp()).absolute()
        few = ("--quick", "--warm", "0.1", "--seconds", "0.3", "--lag-seconds", "0.3", "--publishers", "2")
        _, output = self.call(
            *("--system=wsaas", "--workload=publish-5000", "--subscribers", "20", "--lag-subscribers", "500"),
            *(*few, "--json", str(file)),
        )
        self.assertTrue(file.exists(), output)
        entries = json.loads(file.read_text("utf-8"))["results"]
        self.assertEqual([entry["workload"] for entry in entries], list(FAMILIES["publish-5000"]))
        for entry in entries:
            (only,) = entry["rounds"]
            self.assertFalse([fault for fault in only["faults"] if "shares" not in fault], output)
            if only["busy"]["others"] > 0.5:
                continue  # it was kept off its core, perhaps all the time
            for metric in only["values"].keys() & {"deliveries", "publishes", "p50", "pushes"}:
                self.assertGreater(only["values"][metric], 0, f"{entry['workload']}: {metric}")
        self.assertIn("publish-memory: a membership", output)

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

    def test_against(self) -> None:
        """Two checkouts, here the same one twice, with pushes of each kind; no key is used twice."""
        file = Path(self.mktemp()).absolute()
        few = ("--quick", "--warm", "0.1", "--seconds", "0.2", "--clients", "4", "--pushers", "4", "--json", str(file))
        kinds = [f"pushes-64-{variant.name}" for variant in VARIANTS]
        _, output = self.call(f"--against={ROOT}", *(f"--workload={kind}" for kind in kinds), *few)
        self.assertTrue(file.exists(), output)
        entries = json.loads(file.read_text("utf-8"))["results"]
        measured = [(entry["workload"], entry["system"]) for entry in entries]
        self.assertEqual(measured, list(product(kinds, (against.NOW, against.BEFORE))))
        for entry in entries:
            (only,) = entry["rounds"]
            self.assertNotIn("errors", "".join(only["faults"]))
            # A push whose key was used before is answered, but does not arrive.
            self.assertGreaterEqual(only["values"]["pushes"], 0.5 * only["values"]["accepted"], entry["workload"])
        self.assertIn(against.NOTE, output)
        status, shown = self.call("--report", str(file))
        self.assertIn(against.NOTE, shown)
        self.assertIn(status, (0, 1))

    def test_against_nothing(self) -> None:
        """A folder that is no checkout is refused in one line."""
        status, output = self.call(f"--against={ROOT / 'docs'}")
        self.assertEqual((status, output), (1, f"{ROOT / 'docs'} cannot be measured: it has no {PLUGIN}\n"))

    if NEEDS_COMPILER:
        test_smoke.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # read by trial
        test_publish.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # ditto
        test_inability.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # ditto
        test_against.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # ditto
        test_against_nothing.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # ditto
        test_settings_that_may_cost.skip = NEEDS_COMPILER  # type: ignore[attr-defined]  # ditto
