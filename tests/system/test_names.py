"""The name of the API, with a name server that is slow, or gone: one look-up for everybody, and an end in time."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.gate import handshake_request
from tests.processes import PATIENCE, Gateway, environment
from tests.welcome_api import WelcomeApi

#: twistd, where ``getaddrinfo`` takes so many seconds for names; each look-up is a line in a file.
_TWISTD = """
import socket, sys, time

real, seconds, asked = socket.getaddrinfo, float(sys.argv[1]), sys.argv[2]

def slow(host, *question, **more):
    if host == "api.test":
        with open(asked, "a") as file:
            file.write(host + "\\n")
        time.sleep(seconds)
        host = "127.0.0.1"
    return real(host, *question, **more)

socket.getaddrinfo = slow
sys.argv = ["twistd", "--nodaemon", "--pidfile=", "wsaas"]
from twisted.scripts.twistd import run
run()
"""


class Api(WelcomeApi):
    """An API that many may connect to at the same moment."""

    request_queue_size = 128


class NamesTests(SynchronousTestCase):
    """A gateway whose API has a name."""

    def setUp(self) -> None:
        self.asked = Path(self.mktemp()).absolute()
        self.asked.touch()
        self.api = Api()
        self.addCleanup(self.api.server_close)
        thread = threading.Thread(target=self.api.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.api.shutdown)

    def start(self, seconds: float, **settings: str) -> Gateway:
        """:returns: a gateway to which the name's address is told after so many seconds"""
        port = free_port()
        environ = environment(
            API_URI=f"api.test:{self.api.server_port}/",
            WS_LISTEN=f"tcp:{port}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{port}",
            **settings,
        )
        gateway = Gateway([sys.executable, "-c", _TWISTD, str(seconds), self.asked], environ, port)
        self.addCleanup(gateway.stop)
        gateway.wait_for_port(port)
        return gateway

    def come(self, gateway: Gateway, count: int) -> list[socket.socket]:
        """:returns: so many clients, which asked to connect all at once"""
        clients = []
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", gateway.port), PATIENCE))
            self.addCleanup(clients[-1].close)
        for client in clients:
            client.sendall(handshake_request())
        return clients

    def test_a_slow_name_server(self) -> None:
        """It is asked once, and everybody is let in. Ten at a time, the last would wait for six answers."""
        gateway = self.start(1.0, API_TIMEOUT="5000")
        answers = [client.recv(65536).split(b"\r\n")[0] for client in self.come(gateway, 60)]
        self.assertEqual(answers, [b"HTTP/1.1 101 Switching Protocols"] * 60)
        self.assertEqual(self.asked.read_text(), "api.test\n")

    def test_the_end_does_not_wait_for_a_name(self) -> None:
        """Forty handshakes wait for one that nobody ever knows."""
        gateway = self.start(3600, API_TIMEOUT="60000", DRAIN_TIMEOUT="1000")
        self.come(gateway, 40)
        deadline = time.monotonic() + PATIENCE
        while not self.asked.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        started = time.monotonic()
        gateway.terminate()
        gateway.wait()
        self.assertLess(time.monotonic() - started, 5.0)
        self.assertEqual(self.asked.read_text(), "api.test\n")
