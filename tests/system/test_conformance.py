"""
The gateway against the Autobahn TestSuite's cases, through an HTTP API that echoes with ``Ws-Reply``.

``kosoku`` plays the fuzzing client. Between it and its echo lie the whole gateway and a real API, so the cases also
check that an answer in flight is delivered before the close that follows it, and that every client that came is said
DELETE to.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from bench.faults.plan import QUICK
from tests.processes import ROOT, start, start_gateway

KOSOKU: Final = Path(sysconfig.get_path("scripts"), "kosoku")

RUN_LIMIT: Final = 180.0  #: seconds for one group of cases; the slowest takes about a tenth of it
LARGEST_MESSAGE: Final = 16 * 2**20  #: bytes: cases 9.1.6 and 9.2.6 go to the limit itself
PASSED: Final = {"OK", "INFORMATIONAL"}  #: neither NON-STRICT nor UNIMPLEMENTED is good enough


class ConformanceTests(SynchronousTestCase):
    """
    Each group of cases by its number in the TestSuite; every case is OK or INFORMATIONAL in what it exchanged and in
    how it closed.

    Of groups 12 and 13 (permessage-deflate), 216 cases of a thousand messages each, some are run; ``python -m
    bench.faults --scenario conformance`` runs all of all groups.
    """

    if not KOSOKU.exists():
        skip = "kosoku (in the extra 'dev') is not installed"

    def setUp(self) -> None:
        """Start the echoing API and the gateway in front of it."""
        self.api = start(self, [sys.executable, ROOT / "tests" / "echo_api.py"])
        self.api_port = int(self.api.wait_for_line(r"^listening (\d+)$")[1])
        self.start_gateway()

    def start_gateway(self, **settings: str) -> None:
        """Start the gateway, or another one in place of it."""
        self.gateway = start_gateway(
            self,
            **settings,
            API_URI=f"127.0.0.1:{self.api_port}/",
            API_TIMEOUT="60000",
            WS_MAX_MESSAGE=str(LARGEST_MESSAGE),
            WS_MAX_BUFFER=str(4 * LARGEST_MESSAGE),
            # A case fails when it meets a ping that it did not ask for: let none be due while one runs.
            WS_TIMEOUT="120000",
        )

    def run_cases(self, patterns: Sequence[str], parallelism: int = 8) -> dict[str, dict[str, Any]]:
        """
        Run the cases whose number matches.

        :param patterns: case numbers with ``*`` as wildcard.
        :param parallelism: cases at a time.
        :returns: by case number the TestSuite's report of it.
        """
        reports = Path(self.mktemp())
        kosoku = subprocess.run(
            [
                KOSOKU,
                f"127.0.0.1:{self.gateway.port}",
                *(f"--include={pattern}" for pattern in patterns),
                f"--parallelism={parallelism}",
                f"--outdir={reports}",
            ],
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT,
            check=False,  # its status says only what the reports say in detail
        )
        index = reports / "index.json"
        self.assertTrue(index.exists(), f"no report:\n{kosoku.stderr}\n{self.gateway.output}")
        # Reports are grouped by the peer's Server header; a refused handshake may come without one.
        return {
            number: json.loads((reports / entry["reportfile"]).read_text("utf-8"))
            for entries in json.loads(index.read_text("utf-8")).values()
            for number, entry in entries.items()
        }

    def check(self, patterns: str | Sequence[str], expected: int, parallelism: int = 8) -> None:
        """
        Run a group, and say which of its cases did not pass, and how.

        :param patterns: one or several, see :meth:`run_cases`.
        :param expected: how many cases the group has, so that none is left out unseen.
        :param parallelism: see :meth:`run_cases`.
        """
        reports = self.run_cases([patterns] if isinstance(patterns, str) else patterns, parallelism)
        bad = [
            f"{number}: {report['behavior']}, close {report['behaviorClose']} ({report['remoteCloseCode']}): "
            f"{report['result']} {report['resultClose']} Expected: {report['expectation']}"
            for number, report in reports.items()
            if {report["behavior"], report["behaviorClose"]} - PASSED
        ]
        if bad:
            self.fail("\n".join([f"{len(bad)} of {len(reports)} cases did not pass", *bad]))
        self.assertEqual(len(reports), expected)
        self.check_disconnects(expected)

    def check_disconnects(self, connections: int) -> None:
        """Stop the gateway, and see that the API was asked once and told of the end once for each connection."""
        status = self.gateway.stop()
        log = self.gateway.output
        # twistd ends by the signal that stopped it; a failed shutdown would show in another status.
        self.assertIn(status, (0, -signal.SIGTERM), log)
        self.assertNotIn("Traceback", log)
        with urlopen(f"http://127.0.0.1:{self.api_port}/", timeout=10) as response:
            calls = json.load(response)
        self.assertEqual((calls["POST"], calls["DELETE"]), (connections, connections))

    def test_framing(self) -> None:
        """1: text and binary messages of every length encoding."""
        self.check("1.*", 16)

    def test_pings_and_pongs(self) -> None:
        """2: control frames, empty and full, alone and many at once."""
        self.check("2.*", 11)

    def test_reserved_bits(self) -> None:
        """3: RSV bits without an extension fail the connection, after the echo of the message before."""
        self.check("3.*", 7)

    def test_opcodes(self) -> None:
        """4: reserved opcodes fail the connection, after the echo of the message before."""
        self.check("4.*", 10)

    def test_fragmentation(self) -> None:
        """5: fragmented messages with control frames in between, and broken sequences."""
        self.check("5.*", 20)

    def test_utf8(self) -> None:
        """6: text that is not UTF-8 fails at the octet that breaks it."""
        self.check("6.*", 145)

    def test_close(self) -> None:
        """7: the closing handshake, its codes and reasons."""
        self.check("7.*", 37)

    def test_limits(self) -> None:
        """9: messages to 16 MiB in frames and fragments of many sizes, and a thousand round trips."""
        self.check("9.*", 54, parallelism=2)

    def test_auto_fragmentation(self) -> None:
        """10: a message sent in fragments by the TestSuite's own fragmentation."""
        self.check("10.*", 1)

    def test_compression(self) -> None:
        """12 and 13: permessage-deflate with messages of several sizes and with each kind of parameters."""
        self.start_gateway(WS_COMPRESSION="on")
        self.check(QUICK.cases, len(QUICK.cases))
