"""What survives the process: whole processes, killed, locked out, and with disks that fail (``STATE_DIR``)."""

from __future__ import annotations

import os
import resource
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.gate import TEXT, close_frame, frame, handshake_request
from tests.ledger_api import LedgerApi
from tests.processes import Gateway, environment, start, start_gateway, twistd
from wsaas.callbacks.journal_file import JournalFile
from wsaas.connections.messages import PendingDisconnect

PATIENCE = 20.0  #: seconds for one answer to arrive


class SurvivalCase(SynchronousTestCase):
    """A gateway that dies, and the next one."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name, "state")
        self.api = LedgerApi(self)

    def settings(self, **more: str) -> dict[str, str]:
        """:returns: those of every gateway here"""
        return {
            "API_URI": f"http://127.0.0.1:{self.api.port}/hook",
            "API_HEADERS": "X-Api-Key: 42",
            "STATE_DIR": str(self.folder),
            "DRAIN_TIMEOUT": "300ms",
            **more,
        }

    def start(self, **more: str) -> Gateway:
        """:returns: a gateway that listens"""
        return start_gateway(self, **self.settings(**more))

    def begin(self, gateway: Gateway) -> socket.socket:
        """:returns: the socket of a client that has asked to connect"""
        client = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
        self.addCleanup(client.close)
        client.sendall(handshake_request("/chat?room=7", ("Authorization", "Bearer hunter2")))
        return client

    def head(self, client: socket.socket) -> bytes:
        """:returns: the head of the answer"""
        data = b""
        while b"\r\n\r\n" not in data:
            received = client.recv(4096)
            if not received:
                raise AssertionError(f"the connection ended after {data!r}")
            data += received
        return data

    def open(self, gateway: Gateway) -> socket.socket:
        """:returns: the socket of a client that is connected"""
        client = self.begin(gateway)
        self.assertIn(b" 101 ", self.head(client).split(b"\r\n")[0])
        return client

    def kill(self, gateway: Gateway) -> None:
        """End it in the middle of whatever it does."""
        os.kill(gateway.pid, signal.SIGKILL)
        self.assertEqual(gateway.wait(), -signal.SIGKILL)

    def told(self, count: int) -> None:
        """Wait until so many connections got their DELETE."""
        self.api.wait_until(lambda: len(self.api.disconnects()) >= count, f"{count} disconnects")

    def let_in(self, count: int) -> None:
        """Wait until so many connections were let in, in all lives."""
        self.api.wait_until(lambda: len(self.api.accepted) >= count, f"{count} connections")

    def balanced(self) -> None:
        """Check that each connection that the API let in got its DELETE; several only under the same ``Ws-Id``."""
        self.api.wait_until(lambda: self.api.accepted <= set(self.api.disconnects()), "the rest of the disconnects")
        posts = {entry.tag: entry.headers for entry in self.api.of("POST")}
        for tag, entries in self.api.disconnects().items():
            for entry in entries:
                self.assertEqual(entry.headers["ws-id"], f"{tag}-end")
                # A POST that was still on its way when the gateway was killed may not have come.
                self.assertEqual(entry.headers["ws-uri"], posts.get(tag, entry.headers)["ws-uri"])

    def left(self) -> list[PendingDisconnect]:
        """:returns: what is still owed once a gateway is gone"""
        file = JournalFile(self.folder / "journal.sqlite")
        file.open()
        try:
            return [debt for _, debt in file.load()]
        finally:
            file.close()


class KillTests(SurvivalCase):
    """SIGKILL."""

    def test_open_connections(self) -> None:
        """Each gets its DELETE from the next gateway, once, with what was kept of it and no credentials."""
        gateway = self.start()
        clients = [self.open(gateway) for _ in range(30)]
        for client in clients[:10]:
            client.sendall(close_frame(1000))
        self.told(10)
        time.sleep(0.2)  # for the payments to be written down; else some of them are made twice
        self.kill(gateway)
        self.assertEqual(len(self.left()), 20)
        gateway = self.start()
        self.told(30)
        self.balanced()
        crashed = [entries[-1].headers for entries in list(self.api.disconnects().values())[10:]]
        self.assertEqual(len(crashed), 20)
        for headers in crashed:
            self.assertEqual((headers["ws-close-code"], headers["ws-closed-by"]), ("1006", "crash"))
            self.assertEqual((headers["ws-path"], headers["ws-client"]), ("/chat?room=7", "127.0.0.1"))
            self.assertEqual((headers["ws-state"], headers["x-api-key"]), ("state", "42"))
            self.assertNotIn("authorization", headers)
            self.assertNotIn("content-type", headers)
        gateway.stop()
        self.assertEqual(self.left(), [])
        self.assertEqual(len(self.api.of("DELETE")), 30)

    def test_a_storm(self) -> None:
        """Killed while clients come and go: the ledger balances."""
        for life in (1, 2):
            gateway = self.start()
            over = threading.Event()

            def come_and_go(gateway: Gateway = gateway, over: threading.Event = over) -> None:
                while not over.is_set():
                    try:
                        self.open(gateway).sendall(close_frame(1000))
                    except (OSError, AssertionError):
                        return

            threads = [threading.Thread(target=come_and_go) for _ in range(4)]
            for thread in threads:
                thread.start()
            self.let_in(40 * life)
            self.kill(gateway)
            over.set()
            for thread in threads:
                thread.join()
        gateway = self.start()
        self.balanced()
        gateway.stop()
        self.assertEqual(self.left(), [])

    def test_a_post_without_an_answer(self) -> None:
        """Owed from before the POST was sent."""
        self.api.status["POST"] = 0
        gateway = self.start()
        self.begin(gateway)
        self.api.wait_until(lambda: bool(self.api.of("POST")), "the POST")
        self.kill(gateway)
        self.start()
        self.told(1)
        (headers,) = (entry.headers for entry in self.api.of("DELETE"))
        self.assertEqual((headers["ws-id"], headers["ws-closed-by"]), (f"{self.api.of('POST')[0].tag}-end", "crash"))
        self.assertNotIn("ws-state", headers)

    def test_a_refusal(self) -> None:
        """Is owed nothing."""
        self.api.status["POST"] = 403
        gateway = self.start()
        self.assertIn(b" 403 ", self.head(self.begin(gateway)))
        time.sleep(0.2)
        self.kill(gateway)
        self.assertEqual(self.left(), [])


class EndTests(SurvivalCase):
    """SIGTERM."""

    def test_what_the_api_did_not_take(self) -> None:
        """Is left to the next start, which says how it really ended."""
        self.api.status["DELETE"] = 503
        gateway = self.start()
        self.open(gateway).sendall(close_frame(3001, "bye"))
        self.told(1)
        gateway.stop()
        self.assertEqual(len(self.left()), 1)
        before = len(self.api.of("DELETE"))
        self.api.status["DELETE"] = 200
        gateway = self.start()
        self.api.wait_until(lambda: len(self.api.of("DELETE")) > before, "another attempt")
        headers = self.api.of("DELETE")[-1].headers
        self.assertEqual(
            (headers["ws-close-code"], headers["ws-close-reason"], headers["ws-closed-by"]), ("3001", "bye", "client")
        )
        self.balanced()
        gateway.stop()
        self.assertEqual(self.left(), [])

    def test_a_message_without_an_answer(self) -> None:
        """It counts as undelivered, as does what waited for it; the next start says that this was an orderly end."""
        self.api.status["PUT"] = 0
        gateway = self.start(DRAIN_TIMEOUT="1000")
        self.open(gateway).sendall(frame(TEXT, b"1") + frame(TEXT, b"2"))
        self.api.wait_until(lambda: bool(self.api.of("PUT")), "the PUT")
        gateway.stop()
        self.start()
        self.told(1)
        # The first gateway may have said it in its last moment.
        for entry in self.api.of("DELETE"):
            said = [entry.headers.get(name) for name in ("ws-close-code", "ws-closed-by", "ws-undelivered")]
            self.assertEqual(said, ["1001", "shutdown", "2"])
        self.balanced()


class RefusedTests(SurvivalCase):
    """Gateways that do not start: one line, exit status 1."""

    def refused(self) -> str:
        """:returns: the line"""
        gateway = start(self, twistd(), environment(**self.settings(WS_LISTEN="tcp:0:interface=127.0.0.1")))
        self.assertEqual(gateway.wait(), 1)
        self.assertNotIn("Traceback", gateway.output)
        self.assertNotIn("listening", gateway.output)
        (line,) = [line for line in gateway.output.splitlines() if " wsaas: " in line]
        self.assertIn(f"STATE_DIR: '{self.folder}'", line)
        return line

    def test_two_at_a_time(self) -> None:
        """The first goes on."""
        gateway = self.start()
        self.assertIn(f"process {gateway.pid} uses this one", self.refused())
        self.open(gateway)

    def test_a_damaged_journal(self) -> None:
        """It stays as it is; moved away, the gateway starts."""
        gateway = self.start()
        self.open(gateway)
        gateway.stop()
        file = self.folder / "journal.sqlite"
        content = b"damaged" * 1000
        file.write_bytes(content)
        self.assertIn("journal.sqlite", self.refused())
        self.assertEqual(file.read_bytes(), content)
        file.rename(self.folder / "damaged.sqlite")
        self.open(self.start())

    def test_a_folder_for_everyone(self) -> None:
        """Keys are credentials."""
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.assertIn("chmod 700", self.refused())


class FullDiskTests(SurvivalCase):
    """A disk that takes nothing more, here by the limit on the size of files (RLIMIT_FSIZE)."""

    def limit(self, gateway: Gateway, size: int) -> None:
        """Bound the files of a gateway."""
        _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, hard))

    def test_full_and_free_again(self) -> None:
        """New clients are refused, with one error in the log; those who are here stay, and get their DELETE."""
        gateway = self.start()
        first, second = self.open(gateway), self.open(gateway)
        self.limit(gateway, 0)
        for _ in range(3):
            head = self.head(self.begin(gateway))
            self.assertIn(b" 503 ", head.split(b"\r\n")[0])
            self.assertIn(b"Retry-After: ", head)
        self.assertEqual(len(self.api.of("POST")), 2)
        first.sendall(close_frame(1000))
        self.told(1)
        self.limit(gateway, resource.RLIM_INFINITY)
        gateway.wait_for_line("can be written again")
        errors = [line for line in gateway.output.splitlines() if " ERROR " in line]
        self.assertEqual(len(errors), 1, errors)
        self.open(gateway)
        time.sleep(0.2)
        self.kill(gateway)
        # The first was paid while nothing could be written; that is known all the same.
        self.assertEqual(len(self.left()), 2)
        second.close()
        self.start()
        self.told(3)
        self.balanced()

    def test_full_from_the_start(self) -> None:
        """The gateway does not start."""
        (soft, hard) = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        program = start(self, twistd(), environment(**self.settings(WS_LISTEN="tcp:0:interface=127.0.0.1")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertEqual(program.wait(), 1)
        self.assertIn("wsaas: STATE_DIR: ", program.output)
