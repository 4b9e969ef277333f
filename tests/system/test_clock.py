"""The machine's clock is set while clients are connected: nothing that lasts depends on it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench.ports import free_port
from tests.gate import CLOSE, PING, PONG, TEXT, close_frame, frame, handshake_request, read_frames
from tests.ledger_api import LedgerApi
from tests.processes import PATIENCE, Gateway, environment

#: Where Debian has it, for any architecture.
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

#: twistd, with a ``sleep()`` of its own: Python's sleeps until a time of the monotonic clock, from which libfaketime
#: takes what it adds to the time of day; the kernel refuses that.
_TWISTD = """
import select, sys, time

time.sleep = lambda seconds: select.select([], [], [], seconds)
sys.argv = ["twistd", "--nodaemon", "--pidfile=", "wsaas"]
from twisted.scripts.twistd import run
run()
"""
HOUR = 3600
#: Seconds for which the gateway is looked at after the clock was set.
WATCHED = 4.0


class Client:
    """A client that answers pings, in a thread of its own.

    :param gateway: where it connects
    :param alive: whether it answers
    """

    def __init__(self, gateway: Gateway, path: str, *, alive: bool = True) -> None:
        self._alive = alive
        self._socket = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
        self._socket.sendall(handshake_request(path))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise AssertionError(f"refused: {head!r}")
        #: When pings came, by the monotonic clock.
        self.pings: list[float] = []
        self.messages: list[bytes] = []
        #: When the connection ended, and with which Close frame.
        self.ended_at: float | None = None
        self.close = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send a frame."""
        self._socket.sendall(data)

    def leave(self) -> None:
        """Break off, and wait for the thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It is over already.
        self._thread.join(PATIENCE)
        self._socket.close()

    def _read(self) -> None:
        try:
            while data := self._socket.recv(65536):
                for each in read_frames(data):
                    self._take(each.opcode, each.payload)
        except OSError:
            pass  # The gateway may cut it off.
        self.ended_at = time.monotonic()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings.append(time.monotonic())
            if self._alive:
                self.send(frame(PONG, payload))
        elif opcode == TEXT:
            self.messages.append(payload)
        elif opcode == CLOSE:
            self.close = payload


class ClockTests(SynchronousTestCase):
    """A gateway whose time of day the test sets, with libfaketime; its monotonic clock is the machine's."""

    def setUp(self) -> None:
        if not LIBRARIES:
            raise SkipTest("libfaketime is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.offset = Path(folder.name, "offset")
        self.set_by(0)
        #: How many DELETEs the API refused.
        self.refused = 0
        self.notes: list[tuple[float, str]] = []
        self.api = LedgerApi(self)
        self.api.echoes = True
        self.environ = {
            "API_URI": f"127.0.0.1:{self.api.port}/",
            "WS_TIMEOUT": "2000",
            "STATE_DIR": str(Path(folder.name, "state")),
            "NOTIFY_SOCKET": self.listen(Path(folder.name, "notify")),
            "WATCHDOG_USEC": "1000000",
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_NO_CACHE": "1",
            "NO_FAKE_STAT": "1",
        }
        self.begin()

    def begin(self) -> None:
        """Start a gateway."""
        port = free_port()
        environ = environment(
            WS_LISTEN=f"tcp:{port}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{port}", **self.environ
        )
        self.gateway = Gateway([sys.executable, "-c", _TWISTD], environ, port)
        self.addCleanup(self.gateway.stop)
        self.gateway.wait_for_port(port)

    def set_by(self, seconds: int) -> None:
        """Set the gateway's time of day to so many seconds ahead of this one's."""
        # At once: the gateway reads it at any time.
        new = self.offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self.offset)

    def listen(self, path: Path) -> str:
        """Collect what systemd would be told.

        :returns: the address
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(path))

        def read() -> None:
            while note := listener.recv(4096):
                self.notes.append((time.monotonic(), note.decode()))

        thread = threading.Thread(target=read)
        thread.start()
        self.addCleanup(listener.close)
        self.addCleanup(thread.join)
        # An empty note is the end.
        self.addCleanup(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"", str(path)))
        return str(path)

    def connect(self, path: str, *, alive: bool = True) -> Client:
        """:returns: a client that is let in"""
        client = Client(self.gateway, path, alive=alive)
        self.addCleanup(client.leave)
        return client

    def wait_for(self, what: str, is_true: Callable[[], bool]) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + PATIENCE
        while not is_true():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.01)

    def check(self, seconds: int) -> None:
        """Set the clock while clients are connected, one waits for an answer, and a DELETE is late."""
        idle, asking, gone = (self.connect(path) for path in ("/idle", "/asking", "/gone"))
        self.api.status.update(PUT=503, DELETE=503)
        asking.send(frame(TEXT, b"are you there?"))
        gone.send(close_frame(1000))
        self.api.wait_until(lambda: bool(self.api.of("PUT") and self.api.of("DELETE")), "the first attempts")
        self.wait_for("a ping", lambda: bool(idle.pings))
        self.set_by(seconds)
        changed, mute = time.monotonic(), self.connect("/mute", alive=False)
        before = {method: len(self.api.of(method)) for method in ("PUT", "DELETE")}
        time.sleep(WATCHED)
        # What it says of the time of day shows that the clock was set.
        today = time.time() + seconds
        self.assertLess(abs(int(self.api.of("POST")[-1].headers["ws-timestamp"]) - today), PATIENCE)
        described = json.load(urlopen(self.uri_of("/idle"), timeout=PATIENCE))
        seen = datetime.fromisoformat(described["last_seen_at"]).timestamp()
        self.assertLess(abs(seen - today), 2)
        began = datetime.fromisoformat(described["connected_at"]).timestamp()
        self.assertLess(abs(began - time.time()), 2 * PATIENCE)

        self.assertEqual((idle.ended_at, asking.ended_at), (None, None))
        self.go_on(changed, idle.pings, 1.0)
        self.go_on(changed, [at for at, note in self.notes if "WATCHDOG=1" in note], 0.5)
        self.wait_for("the end of a dead client", lambda: mute.ended_at is not None)
        self.assertGreater((mute.ended_at or 0.0) - changed, 1.9)
        for method, count in before.items():
            self.wait_for(f"another {method}", partial(self.more_than, method, count))
        self.assertEqual(asking.messages, [])

        self.refused = len(self.api.of("DELETE"))
        self.api.status.update(PUT=200, DELETE=200)
        self.wait_for("the answer", lambda: asking.messages == [b"are you there?"])
        for path in ("/gone", "/mute"):
            self.wait_for(f"the DELETE of {path}", partial(self.is_told, path))
        self.assertEqual((idle.ended_at, asking.ended_at, asking.close), (None, None, b""))
        self.assertNotIn("was not told", self.gateway.output)

    def uri_of(self, path: str) -> str:
        """:returns: the ``ws_uri`` of a client"""
        (uri,) = {entry.headers["ws-uri"] for entry in self.api.of("POST") if entry.headers["ws-path"] == path}
        return uri

    def more_than(self, method: str, count: int) -> bool:
        """:returns: whether so many calls were followed by another"""
        return len(self.api.of(method)) > count

    def is_told(self, path: str) -> bool:
        """:returns: whether the API took the DELETE of a client"""
        return any(entry.headers["ws-path"] == path for entry in self.api.of("DELETE")[self.refused :])

    def go_on(self, begin: float, times: list[float], every: float) -> None:
        """Check that something came again and again after a moment: half as often as it should at least."""
        after = [at for at in times if begin < at <= begin + WATCHED]
        self.assertTrue(WATCHED / every / 2 <= len(after) <= WATCHED / every + 1, after)

    def test_back(self) -> None:
        """By an hour."""
        self.check(-HOUR)

    def test_forward(self) -> None:
        """By more than any time for which something is tried again: a minute for messages, a day for DELETEs."""
        self.check(25 * HOUR)

    def test_between_two_processes(self) -> None:
        """The second one finds a DELETE that is owed for a connection which ended in the future."""
        self.connect("/gone").send(close_frame(1000))
        self.api.status.update(DELETE=503)
        self.wait_for("a DELETE", partial(self.more_than, "DELETE", 0))
        # The journal has it after 0.05 s and the time of a write.
        time.sleep(1)
        os.kill(self.gateway.pid, signal.SIGKILL)
        self.gateway.wait()
        self.set_by(-HOUR)
        before = len(self.api.of("DELETE"))
        self.begin()
        # As often as needed: the time for it is not over.
        self.wait_for("two attempts", partial(self.more_than, "DELETE", before + 1))
        self.api.status.update(DELETE=200)
        self.gateway.wait_for_line("no DELETE is pending any more")
        last = self.api.of("DELETE")[-1].headers
        self.assertEqual((last["ws-path"], last["ws-closed-by"]), ("/gone", "client"))
        self.assertLess(abs(int(last["ws-timestamp"]) - (time.time() - HOUR)), PATIENCE)
