"""A restart under load: with a socket that somebody else keeps open, no handshake is refused and no DELETE lost."""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.gate import close_frame, handshake_request
from tests.processes import PATIENCE, Program, environment, start, twistd
from tests.system.test_systemd import ACTIVATE
from tests.welcome_api import WelcomeApi

#: Clients at the same time.
CLIENTS = 8
#: Connections before, during and after the restart, at least.
CONNECTIONS = 40


class Crowd:
    """Clients that come, stay for a moment, and come again, until they are told to stop.

    :param port: where they connect, on 127.0.0.1
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        #: What each handshake led to: a status line, or what went wrong in its place.
        self.answers: list[str] = []
        #: How many connections the gateway closed, by code.
        self.closed: dict[int, int] = {}
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Come no more; wait until all are gone."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def _run(self, number: int) -> None:
        stays = random.Random(number)
        while not self._over.is_set():
            self._visit(stays.choice([0.0, 0.01, 0.1, 1.0]))

    def _visit(self, stay: float) -> None:
        with socket.socket() as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(("127.0.0.1", self._port))
                client.sendall(handshake_request())
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(65536) or b"(closed)\r\n\r\n"
            except OSError as error:
                self.answers.append(repr(error))
                return
            answer, _, rest = head.partition(b"\r\n\r\n")
            self.answers.append(answer.partition(b"\r\n")[0].decode())
            if not rest:
                try:
                    client.settimeout(stay or 0.001)
                    rest = client.recv(4)
                except TimeoutError:
                    pass
                except OSError:
                    return
            if len(rest) >= 4 and rest[0] == 0x88:
                (code,) = struct.unpack("!H", rest[2:4])
                self.closed[code] = self.closed.get(code, 0) + 1
            try:
                client.settimeout(PATIENCE)
                client.sendall(close_frame(1001))
                while client.recv(65536):
                    pass
            except OSError:
                pass  # It has its 101; how the end goes is the gateway's ledger to tell.


class RestartTests(SynchronousTestCase):
    """Two gateways, one after the other, and one socket."""

    def setUp(self) -> None:
        """Open the socket and start an API."""
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.addCleanup(self.listener.close)
        self.api = WelcomeApi()
        thread = threading.Thread(target=self.api.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(self.api.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.api.shutdown)

    def activate(self, **settings: str) -> Program:
        """Start a gateway as systemd would."""
        descriptor = self.listener.fileno()
        shim = [sys.executable, "-c", ACTIVATE, str(descriptor), "wsaas", *twistd()]
        env = environment(
            WS_LISTEN="systemd:domain=INET:name=wsaas", API_URI=f"127.0.0.1:{self.api.server_port}/", **settings
        )
        gateway = start(self, shim, env, pass_fds=[descriptor])
        gateway.wait_for_line(r"\blistening\b")
        return gateway

    def wait_for(self, crowd: Crowd, count: int) -> None:
        """Wait until there were so many answers."""
        deadline = time.monotonic() + PATIENCE
        while len(crowd.answers) < count:
            self.assertLess(time.monotonic(), deadline, f"{len(crowd.answers)} answers of {count}")
            time.sleep(0.01)

    def test_under_load(self) -> None:
        """Each handshake gets its 101, some of them later; each connection its POST and its DELETE."""
        first = self.activate()
        crowd = Crowd(self.listener.getsockname()[1])
        self.addCleanup(crowd.leave)
        self.wait_for(crowd, CONNECTIONS)
        first.terminate()
        first.wait()
        second = self.activate()
        self.wait_for(crowd, len(crowd.answers) + CONNECTIONS)
        crowd.leave()
        second.terminate()
        second.wait()
        self.assertEqual(set(crowd.answers), {"HTTP/1.1 101 Switching Protocols"})
        ledger = self.api.ledger
        self.assertEqual(len(ledger.came), len(set(ledger.came)))
        self.assertEqual(sorted(ledger.came), sorted(ledger.gone))
        self.assertEqual(len(ledger.came), len(crowd.answers))
        self.assertIn(1001, crowd.closed)
        for gateway in (first, second):
            self.assertNotIn("Traceback", gateway.output)
            self.assertNotIn("ERROR", gateway.output)
