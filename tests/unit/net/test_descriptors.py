"""File descriptors: who gets them, and a port that waits instead of failing; the latter with a real, low limit."""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.gate import handshake_request
from tests.processes import PATIENCE, environment, start, twistd
from tests.welcome_api import WelcomeApi
from wsaas.net.descriptors import Descriptors, Shares, raise_limit, share_out
from wsaas.net.listen import ListeningPort


class ShareTests(SynchronousTestCase):
    """Who gets how many."""

    def test_plenty(self) -> None:
        """Calls, files, pushers and those before their handshake have theirs; the rest are connections."""
        shares = share_out(20_000, 256)
        self.assertEqual((shares.pushers, shares.clients), (19_680, 19_616))
        self.assertEqual((shares.connections, shares.awaited), (19_360, 2452))
        self.assertEqual(share_out(262_144, 256).awaited, 8192)

    def test_few(self) -> None:
        """Each share has some, whatever the limit."""
        for limit in (2, 10, 64, 100, 256, 1024, 4096):
            shares = share_out(limit, 256)
            self.assertGreater(shares.awaited, 0)
            self.assertTrue(0 < shares.connections <= shares.clients <= shares.pushers < limit, (limit, shares))


class LimitTests(SynchronousTestCase):
    """The soft limit."""

    def setUp(self) -> None:
        """Put it back in the end."""
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, self.limits)

    def test_raised_to_the_hard_one(self) -> None:
        """Once and for all."""
        hard = self.limits[1]
        if not 512 < hard < 1 << 20:
            hard = 1 << 20
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, self.limits[1]))
        self.assertEqual((raise_limit(), raise_limit()), (hard, hard))
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard)

    def test_forbidden(self) -> None:
        """Then it is as it is: that is no error."""

        def forbidden(*_: object) -> None:
            raise PermissionError

        resource.setrlimit(resource.RLIMIT_NOFILE, (512, self.limits[1]))
        self.patch(resource, "setrlimit", forbidden)
        self.assertEqual(raise_limit(), 512)


class ManyWait:
    """A port with a queue of clients."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.reading = True
        self.sessionno = 0
        self.numberAccepts = 100
        self.sockets: list[int] = []

    def doRead(self) -> None:
        """Accept as many as were asked for."""
        for _ in range(min(self.numberAccepts, self.waiting)):
            self.waiting -= 1
            self.sessionno += 1
            self.sockets.append(os.open(os.devnull, os.O_RDONLY))

    def pauseProducing(self) -> None:
        """Do not read."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read."""
        self.reading = True


class DescriptorsTests(SynchronousTestCase):
    """A port that is guarded."""

    def setUp(self) -> None:
        """Make one; there is room for ten."""
        self.clock = Clock()
        # Free numbers, of which others in this process may have some in between; one is the probe.
        free = [os.open(os.devnull, os.O_RDONLY) for _ in range(16)]
        for number in free:
            os.close(number)
        self.mark, self.last = free[11], free[15] + 1
        self.descriptors = Descriptors(self.clock, Shares(self.mark, self.last, 1, 1))
        self.addCleanup(self.descriptors.stop)
        self.port = ManyWait(100)
        self.addCleanup(self.close_all)
        self.listening = ListeningPort(self.port)  # type: ignore[arg-type]  # as much of a port as is needed

    def close_all(self) -> None:
        """Leave no socket open."""
        while self.port.sockets:
            os.close(self.port.sockets.pop())

    def close(self, count: int) -> None:
        """Let clients leave, those with the lowest numbers first."""
        for _ in range(count):
            os.close(self.port.sockets.pop(0))

    def turn(self) -> None:
        """As the reactor does it."""
        if self.port.reading:
            self.port.doRead()

    def test_waits_and_goes_on(self) -> None:
        """It never gets a number from the mark on, however often there is room."""
        self.descriptors.guard(self.listening, clients=True)
        with capturedLogs() as logs:
            self.turn()
            taken = len(self.port.sockets)
            self.assertLessEqual(taken, 10)
            self.assertGreater(taken, 3)
            self.assertFalse(self.port.reading)
            for _ in range(5):
                self.close(2)
                self.clock.advance(0.1)
                self.assertTrue(self.port.reading)
                self.turn()
                self.assertFalse(self.port.reading)
                self.assertLess(max(self.port.sockets), self.mark)
                self.assertEqual(len(self.port.sockets), taken)
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.warn])
        self.assertEqual(self.descriptors.shortages, 6)

    def test_pushers_have_their_own(self) -> None:
        """Where clients get none any more, they still do."""
        self.descriptors.guard(self.listening, clients=False)
        self.turn()
        self.assertGreaterEqual(max(self.port.sockets), self.mark)
        self.assertLess(max(self.port.sockets), self.last)

    def test_few_at_a_time(self) -> None:
        """The loop has other things to do, too."""
        self.descriptors = Descriptors(self.clock, Shares(1 << 20, 1 << 20, 1, 1))
        self.addCleanup(self.descriptors.stop)
        self.descriptors.guard(self.listening, clients=True)
        self.turn()
        self.assertEqual(len(self.port.sockets), 64)
        self.turn()
        self.turn()
        self.assertEqual((len(self.port.sockets), self.port.waiting, self.port.reading), (100, 0, True))

    def test_a_drain_is_not_undone(self) -> None:
        """A port that was paused for good stays so when there is room."""
        self.descriptors.guard(self.listening, clients=True)
        self.turn()
        self.listening.pause()
        self.close(2)
        self.clock.advance(0.1)
        self.assertFalse(self.port.reading)

    def test_no_timer_without_need(self) -> None:
        """Nor after it."""
        self.descriptors.guard(self.listening, clients=True)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.turn()
        self.close(3)
        self.clock.advance(0.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_other_ports(self) -> None:
        """What has no such method is left alone."""
        self.descriptors.guard(ListeningPort(object()), clients=True)  # type: ignore[arg-type]  # a port of another kind


LIMITED = """
import os, resource, sys
limit, *argv = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
os.execv(argv[0], argv)
"""


class ProcessTests(SynchronousTestCase):
    """A gateway with 100 descriptors."""

    def test_more_clients_than_descriptors(self) -> None:
        """Open connections are served; new ones wait until descriptors are free; calls to the API go on."""
        api = WelcomeApi()
        thread = threading.Thread(target=api.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(api.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(api.shutdown)
        port = free_port()
        gateway = start(
            self,
            [sys.executable, "-c", LIMITED, "100", *twistd()],
            environment(
                WS_LISTEN=f"tcp:{port}:interface=127.0.0.1",
                API_URI=f"127.0.0.1:{api.server_port}/",
                WS_MAX_CONNECTIONS="1000",
            ),
        )
        gateway.wait_for_line(r"\blistening\b")
        self.assertIn("100 open files", gateway.output)
        clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(120)]
        for client in clients:
            self.addCleanup(client.close)
            client.sendall(handshake_request())
        for client in clients[:20]:
            self.assertIn(b"101", client.recv(65536))
        gateway.wait_for_line("no file descriptor is left")
        self.assertLess(len(list(Path("/proc", str(gateway.pid), "fd").iterdir())), 100)
        # Room comes in the order in which they came.
        for number, client in enumerate(clients):
            if number >= 20:
                self.assertIn(b"101", client.recv(65536))
            client.close()
        deadline = time.monotonic() + PATIENCE
        while len(api.ledger.gone) < len(clients):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        gateway.stop()
        self.assertNotIn("Traceback", gateway.output)
        self.assertNotIn("EMFILE", gateway.output)
        self.assertEqual(sorted(api.ledger.came), sorted(api.ledger.gone))
