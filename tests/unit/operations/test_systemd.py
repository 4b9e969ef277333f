"""What systemd is told: on a real datagram socket, by a clock in memory."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import PATIENCE, start_gateway
from wsaas.operations.systemd import Notifier, is_journal, watchdog_interval


class JournalTests(SynchronousTestCase):
    """``JOURNAL_STREAM`` names a device and an inode."""

    def test_it_is_that_descriptor(self) -> None:
        """And no other, as when only standard error goes to the journal."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        status = os.fstat(writing)
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        self.assertTrue(is_journal(named, writing))
        with Path(os.devnull).open("rb") as other:
            self.assertFalse(is_journal(named, other.fileno()))
        self.assertFalse(is_journal({}, writing))
        os.close(reading)
        self.assertFalse(is_journal(named, 1 << 20))


class NotifierTests(SynchronousTestCase):
    """Notes on their way to the service manager."""

    def setUp(self) -> None:
        """Be the service manager."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name, "notify"))
        self.clock = Clock()

    def listen(self, address: str) -> socket.socket:
        """:returns: the manager's socket"""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(address)
        manager.setblocking(False)
        return manager

    def notifier(self, **environ: str) -> Notifier:
        """:returns: one that ends with the test"""
        notifier = Notifier(self.clock, {"NOTIFY_SOCKET": self.path, **environ}, lambda: "3 clients", 42)
        self.addCleanup(notifier.stop)
        return notifier

    def notes(self, manager: socket.socket) -> list[list[str]]:
        """:returns: the lines of each note that has come"""
        found = []
        while True:
            try:
                found.append(manager.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def test_ready(self) -> None:
        """Once, with the status; then the status again and again."""
        manager = self.listen(self.path)
        notifier = self.notifier()
        notifier.ready()
        notifier.ready()
        self.assertEqual(self.notes(manager), [["READY=1", "STATUS=3 clients"]])
        self.clock.pump([10, 10])
        self.assertEqual(self.notes(manager), [["STATUS=3 clients"]] * 2)

    def test_abstract(self) -> None:
        """An @ stands for the zero byte of an abstract name."""
        name = f"wsaas-test-{os.getpid()}-{id(self)}"
        manager = self.listen(f"\0{name}")
        self.notifier(NOTIFY_SOCKET=f"@{name}").ready()
        self.assertEqual(len(self.notes(manager)), 1)

    def test_watchdog(self) -> None:
        """It hears of the loop twice in its time."""
        manager = self.listen(self.path)
        self.notifier(WATCHDOG_USEC="4000000", WATCHDOG_PID="42").ready()
        self.notes(manager)
        self.clock.pump([1.9, 0.2, 1.9])
        self.assertEqual(self.notes(manager), [["STATUS=3 clients", "WATCHDOG=1"]] * 2)

    def test_watchdog_of_the_loop(self) -> None:
        """A loop that is stuck tells nothing, however much time passes, and once when it goes on."""
        manager = self.listen(self.path)
        self.notifier(WATCHDOG_USEC="4000000").ready()
        self.notes(manager)
        self.clock.advance(60)
        self.assertEqual(len(self.notes(manager)), 1)

    def test_stopping(self) -> None:
        """Time is asked for bit by bit, and the watchdog is still fed."""
        manager = self.listen(self.path)
        notifier = self.notifier(WATCHDOG_USEC="8000000")
        notifier.ready()
        self.notes(manager)
        notifier.stopping()
        more = ["EXTEND_TIMEOUT_USEC=15000000", "STATUS=3 clients"]
        self.assertEqual(self.notes(manager), [["STOPPING=1"], more])
        self.clock.pump([4, 1, 3])
        beat = ["STATUS=3 clients", "WATCHDOG=1"]
        self.assertEqual(self.notes(manager), [beat, more, beat])
        notifier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_systemd(self) -> None:
        """Nothing happens: no timer, no socket."""
        for address in ("", "vsock:2:1234"):
            notifier = self.notifier(NOTIFY_SOCKET=address)
            notifier.ready()
            notifier.stopping()
            notifier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_listens(self) -> None:
        """It is said once; the gateway goes on."""
        notifier = self.notifier()
        with capturedLogs() as logs:
            notifier.ready()
            self.clock.pump([10, 10])
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.warn])

    def test_a_manager_that_does_not_read(self) -> None:
        """It does not block."""
        self.listen(self.path)
        self.notifier(WATCHDOG_USEC="2000").ready()
        with capturedLogs():
            self.clock.pump([0.001] * 2000)

    def test_interval(self) -> None:
        """Half of what the watchdog waits for, if it means this process."""
        cases = [
            ({"WATCHDOG_USEC": "30000000"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
            ({"WATCHDOG_PID": "42"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
            ({"WATCHDOG_USEC": "-5"}, None),
            ({"WATCHDOG_USEC": "²"}, None),
            ({"WATCHDOG_USEC": "1" * 400}, None),
            ({"WATCHDOG_USEC": "1" * 5000}, None),
        ]
        for environ, expected in cases:
            self.assertEqual(watchdog_interval(environ, 42), expected, environ)


class ProcessTests(SynchronousTestCase):
    """A gateway that systemd would run."""

    def test_a_life(self) -> None:
        """Ready once it listens, then signs of life, then the end."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = str(Path(folder.name, "notify"))
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.settimeout(PATIENCE)
        gateway = start_gateway(self, API_URI="localhost:5000/", NOTIFY_SOCKET=path, WATCHDOG_USEC="200000")
        self.assertEqual(manager.recv(4096), b"READY=1\nSTATUS=0 clients")
        self.assertEqual(manager.recv(4096), b"STATUS=0 clients\nWATCHDOG=1")
        gateway.terminate()
        while b"STOPPING=1" not in (note := manager.recv(4096)):
            self.assertIn(b"WATCHDOG=1", note)
        self.assertTrue(manager.recv(4096).startswith(b"EXTEND_TIMEOUT_USEC="))
        gateway.wait()
