"""SIGTERM and SIGINT: once in good order, twice in a hurry. SIGHUP reloads; SIGUSR1 opens the log file again."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

from cryptography import x509
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.certificates import Authority
from tests.descriptions import escaped
from tests.gate import handshake_request
from tests.processes import PATIENCE, Gateway, environment, start_gateway, twistd
from wsaas.operations.signals import Signals


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
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, self.first)
        self.clock = MemoryReactorClock()
        vars(self.clock)["callFromThread"] = self.from_thread
        self.later: list[Any] = []
        self.hurries = 0
        self.reloads = 0
        self.reopened = 0
        self.terminal = False
        self.patch(os, "isatty", lambda _: self.terminal)
        self.stopping = False
        self.signals = self.make(ends_with_terminal=False)
        self.addCleanup(self.signals.uninstall)

    def make(self, *, ends_with_terminal: bool) -> Signals:
        """:returns: what is tested"""
        return Signals(
            self.clock,
            lambda: self.stopping,
            self.hurry,
            self.reload,
            self.reopen,
            ends_with_terminal=ends_with_terminal,
        )

    def reload(self) -> None:
        """Count."""
        self.reloads += 1

    def reopen(self) -> None:
        """Count."""
        self.reopened += 1

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

    def test_reload(self) -> None:
        """For each SIGHUP, in the reactor's turn, also where it was ignored."""
        for before in (signal.SIG_DFL, signal.SIG_IGN):
            self.reloads = 0
            signal.signal(signal.SIGHUP, before)
            self.signals.install()
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            self.assertEqual(self.reloads, 0)
            self.turn()
            self.assertEqual((self.reloads, self.hurries, self.first.numbers), (2, 0, []))
            self.signals.uninstall()
            self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_reopen(self) -> None:
        """For each SIGUSR1, in the reactor's turn, whatever it did before; with a terminal, too."""
        for before, self.terminal in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            self.reopened = 0
            signal.signal(signal.SIGUSR1, before)
            self.signals.install()
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR1)
            self.assertEqual(self.reopened, 0)
            self.turn()
            self.assertEqual((self.reopened, self.reloads, self.hurries, self.first.numbers), (2, 0, 0, []))
            self.signals.uninstall()
            self.assertEqual(signal.getsignal(signal.SIGUSR1), before)

    def test_reopen_before_the_reactor_runs(self) -> None:
        """What came so early is done in its first turn; what was there before is restored in the end all the same."""
        self.signals.install_first()
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)
        signal.raise_signal(signal.SIGUSR1)
        self.signals.install()
        self.assertEqual(self.reopened, 0)
        self.turn()
        self.assertEqual((self.reopened, self.first.numbers), (1, []))
        self.signals.uninstall()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), self.first)

    def test_a_terminal_that_is_closed(self) -> None:
        """Ends what has nothing to reload, as it does by itself."""
        for self.terminal, ends, installed in ((True, True, False), (True, False, True), (False, True, True)):
            signals = self.make(ends_with_terminal=ends)
            signals.install()
            self.assertEqual(signal.getsignal(signal.SIGHUP) is not self.first, installed)
            signals.uninstall()

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


class ReloadTests(SynchronousTestCase):
    """SIGHUP to a process of its own."""

    def setUp(self) -> None:
        """Start the gateway with a certificate, and a client."""
        self.authority = Authority()
        self.path = Path(self.mktemp()).absolute() / "x.pem"
        self.path.parent.mkdir()
        self.issue()
        self.port = free_port()
        listen = f"tls:{escaped(self.path.parent)}:{self.port}:interface=127.0.0.1"
        # The port must get no connection without TLS.
        self.gateway = Gateway([*twistd(), "--demo"], environment(WS_LISTEN=listen), self.port)
        self.addCleanup(self.gateway.stop)
        self.gateway.wait_for_line(
            r"listening: tls:127\.0\.0\.1:\d+ \(clients, pushes\), certificate of localhost until 20"
        )
        self.gateway.wait_for_port(self.port)

    def issue(self) -> str:
        """:returns: the serial number of a new certificate, which is in the folder now"""
        certificate, key = self.authority.issue()
        self.path.write_bytes(certificate + key)
        return f"{x509.load_pem_x509_certificate(certificate).serial_number:X}"

    def connect(self) -> ssl.SSLSocket:
        """:returns: a connected client"""
        context = ssl.create_default_context(cadata=self.authority.certificate.decode())
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(client.close)
        return client

    def shown(self) -> str:
        """:returns: the serial number of the certificate that a client sees"""
        with self.connect() as client:
            seen: Any = client.getpeercert()
            return str(seen["serialNumber"]).lstrip("0")

    def ask(self, client: ssl.SSLSocket) -> bytes:
        """:returns: the status line for a request on a kept connection"""
        client.sendall(b"HEAD /none HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return client.recv(65536).partition(b"\r\n")[0]

    def test_new_certificates(self) -> None:
        """They are used from then on, no client is disconnected, and bad ones change nothing."""
        kept = self.connect()
        first = self.ask(kept)
        old = self.shown()
        new = self.issue()
        self.assertEqual(self.shown(), old)
        os.kill(self.gateway.pid, signal.SIGHUP)
        self.gateway.wait_for_line("certificates reloaded: 1")
        self.assertEqual(self.shown(), new)
        self.assertNotEqual(new, old)
        self.path.write_bytes(b"nonsense")
        os.kill(self.gateway.pid, signal.SIGHUP)
        said = self.gateway.wait_for_line("ERROR.*not reloaded.*").group()
        self.assertIn(f"{self.path}: no private key", said)
        self.assertEqual(self.shown(), new)
        self.assertEqual(self.ask(kept), first)


class ProcessTests(SynchronousTestCase):
    """In a process of its own."""

    def setUp(self) -> None:
        """Start an API, the gateway, and a client that does not answer a Close frame."""
        # In the background of a shell, or under nohup, it is ignored, and a program inherits that.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
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
        for number in numbers:
            os.kill(self.gateway.pid, number)
            self.gateway.wait_for_line("shutting down")
        self.gateway.wait_for_line("in a hurry")
        self.gateway.wait()
        self.assertNotIn("Traceback", self.gateway.output)
        self.assertNotIn("ReactorNotRunning", self.gateway.output)

    def test_twice(self) -> None:
        """As systemctl kill does it."""
        self.hurried(signal.SIGTERM, signal.SIGTERM)

    def test_both(self) -> None:
        """Ctrl-C, Ctrl-C, and a SIGTERM."""
        self.hurried(signal.SIGINT, signal.SIGINT, signal.SIGTERM)
