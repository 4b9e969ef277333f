"""The command ``wsaas`` as processes: a gateway, clients and pushers beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.processes import PATIENCE, ROOT, Program, environment, start

_WSAAS = (sys.executable, "-m", "wsaas")


class CommandTests(SynchronousTestCase):
    """``python -m wsaas``, which the script ``wsaas`` is, too."""

    def setUp(self) -> None:
        """Make a folder to be in, where nothing is to be left."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.port = free_port()

    def environment(self, **more: str) -> dict[str, str]:
        """:returns: that of all processes here"""
        return {**environment(**more), "PYTHONPATH": str(ROOT)}

    def gateway(self, **more: str) -> Program:
        """Start one, and wait until it listens."""
        where = {"WS_LISTEN": f"tcp:{self.port}:interface=127.0.0.1", "WS_HOSTNAME": f"http://127.0.0.1:{self.port}"}
        program = start(self, [*_WSAAS, "--demo"], self.environment(**where, **more), self.folder)
        program.wait_for_port(self.port)
        return program

    def run_one(self, *words: str, given: bytes = b"", **more: str) -> tuple[int, str, str]:
        """:returns: the exit status of one that ends by itself, what it printed, and what it said besides"""
        done = subprocess.run(
            [*_WSAAS, *words],
            input=given,
            capture_output=True,
            env=self.environment(**more),
            cwd=self.folder,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_gateway(self) -> None:
        """It serves in the foreground, ends as twistd does, and leaves no file."""
        program = self.gateway()
        os.kill(program.pid, signal.SIGTERM)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        self.assertIn("open http://127.0.0.1:", program.output)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_check(self) -> None:
        """Status 0 or 1, as with ``--check``."""
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        status, said, _ = self.run_one("check", "--api-uri", "localhost:9", WS_LISTEN=listen)
        self.assertEqual((status, said), (0, "wsaas: the settings can be used\n"))
        status, _, wrong = self.run_one("check", WS_LISTEN=listen)
        self.assertEqual(status, 1)
        self.assertIn("API_URI is not set", wrong)

    def test_talk(self) -> None:
        """A client, and pushes by name; the token is in the environment."""
        token = "a-token-for-tests"
        self.gateway(PUBLISH_TOKEN=token)
        base = f"127.0.0.1:{self.port}"
        status, printed, notes = self.run_one("connect", f"ws://{base}/", given=b"hello\nand you")
        self.assertEqual((status, notes), (0, "wsaas: open\nwsaas: closed: 1000\n"))
        self.assertIn("hello", printed)
        status, printed, _ = self.run_one("publish", "all", given=b"hi\n", PUBLISH_TOKEN=token, WS_HOSTNAME=base)
        self.assertEqual(status, 0)
        self.assertIn('"code": "OK"', printed)
        status, printed, said = self.run_one("publish", "--url", base, "all", "hi")
        self.assertEqual(status, 1)
        self.assertIn("UNAUTHORIZED", printed)
        self.assertTrue(said.startswith("wsaas: 401 UNAUTHORIZED: "), said)
        status, _, said = self.run_one("push", f"{base}/{'x' * 24}", "hi")
        self.assertEqual(status, 1)
        self.assertTrue(said.startswith("wsaas: 404 NOT_FOUND: "), said)

    def test_interrupted(self) -> None:
        """Ctrl-C is a proper end."""
        # Tests in the background of a shell ignore it, and so would what they start.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        gateway = self.gateway()
        # Its input stays open.
        holding, held = os.pipe()
        self.addCleanup(os.close, held)
        client = subprocess.Popen(
            [*_WSAAS, "connect", f"127.0.0.1:{self.port}"],
            stdin=holding,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self.environment(),
            cwd=self.folder,
        )
        os.close(holding)
        self.addCleanup(client.kill)
        assert client.stderr is not None
        self.assertEqual(client.stderr.readline(), b"wsaas: open\n")
        client.send_signal(signal.SIGINT)
        self.assertEqual(client.communicate(timeout=PATIENCE)[1], b"wsaas: closed: 1000\n")
        self.assertEqual(client.returncode, 0)
        gateway.wait_for_line("closed: 1000 by client")
