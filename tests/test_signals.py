"""SIGTERM and SIGINT: once in good order, twice in a hurry."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import handshake_request
from tests.processes import PATIENCE, Gateway, start_gateway
from wsaas.signals import Signals


class FirstComes:
    """What Twisted installs, in a test."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note it."""
        self.numbers.append(number)


class SignalsTests(SynchronousTestCase):
    """In this process."""

    def setUp(self) -> None:
        """Install something that does not end the tests."""
        self.first = FirstComes()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, self.first)
        self.clock = MemoryReactorClock()
        vars(self.clock)["callFromThread"] = self.from_thread
        self.later: list[Any] = []
        self.hurries = 0
        self.stopping = False
        self.signals = Signals(self.clock, lambda: self.stopping, self.hurry)
        self.addCleanup(self.signals.uninstall)

    def from_thread(self, call: Any, *arguments: Any, **keywords: Any) -> None:
        """Keep a call for the next turn."""
        self.later.append(call)

    def hurry(self) -> None:
        """Count."""
        self.hurries += 1

    def turn(self) -> None:
        """Let the reactor take a turn."""
        later, self.later = self.later, []
        for call in later:
            call()

    def test_first_and_next(self) -> None:
        """The first goes to who was there before, every other one hurries, in the reactor's turn."""
        self.signals.install()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((self.first.numbers, self.later), ([signal.SIGTERM], []))
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        self.assertEqual((self.first.numbers, self.hurries), ([signal.SIGTERM], 0))
        self.turn()
        self.assertEqual(self.hurries, 2)

    def test_stopping_for_another_reason(self) -> None:
        """Then the first one hurries, too: a reactor that stops cannot be stopped."""
        self.signals.install()
        self.stopping = True
        signal.raise_signal(signal.SIGINT)
        self.turn()
        self.assertEqual((self.first.numbers, self.hurries), ([], 1))

    def test_what_is_ignored_stays_ignored(self) -> None:
        """As with nohup."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.signals.install()
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_uninstall(self) -> None:
        """Everything is as it was."""
        self.signals.install()
        self.signals.uninstall()
        self.assertEqual(
            [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)], [self.first, self.first]
        )


class Welcome(BaseHTTPRequestHandler):
    """An API that welcomes everyone."""

    def welcome(self) -> None:
        """Answer at once."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "14")
        self.end_headers()
        self.wfile.write(b'{"code": "OK"}')

    do_POST = welcome

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing."""


class ProcessTests(SynchronousTestCase):
    """In a process of its own."""

    def setUp(self) -> None:
        """Start an API, the gateway, and a client that does not answer a Close frame."""
        api = ThreadingHTTPServer(("127.0.0.1", 0), Welcome)
        thread = threading.Thread(target=api.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(api.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(api.shutdown)
        self.gateway: Gateway = start_gateway(self, API_URI=f"127.0.0.1:{api.server_port}/", DRAIN_TIMEOUT="60000")
        self.client = socket.create_connection(("127.0.0.1", self.gateway.port), timeout=PATIENCE)
        self.addCleanup(self.client.close)
        self.client.sendall(handshake_request())
        self.assertIn(b"101", self.client.recv(65536))

    def hurried(self, *numbers: int) -> None:
        """End it by some signals: it does not wait for the client for 60 s."""
        began = time.monotonic()
        for number in numbers:
            os.kill(self.gateway.pid, number)
            self.gateway.wait_for_line("shutting down")
        self.gateway.wait_for_line("in a hurry")
        self.gateway.wait()
        self.assertLess(time.monotonic() - began, 4)
        self.assertNotIn("Traceback", self.gateway.output)
        self.assertNotIn("ReactorNotRunning", self.gateway.output)

    def test_twice(self) -> None:
        """As systemctl kill does it."""
        self.hurried(signal.SIGTERM, signal.SIGTERM)

    def test_both(self) -> None:
        """Ctrl-C, Ctrl-C, and somebody else's SIGTERM."""
        self.hurried(signal.SIGINT, signal.SIGINT, signal.SIGTERM)
