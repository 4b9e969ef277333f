"""An HTTP API in threads of its own that keeps a ledger: whom it let in, and whose end it was told.

For tests of whole processes; it answers while the test blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from twisted.trial.unittest import SynchronousTestCase

PATIENCE = 20.0  #: seconds for everything to come that a test waits for


@dataclass(frozen=True)
class Entry:
    """A call that reached the API. Names of headers in lower case."""

    method: str
    headers: dict[str, str]

    @property
    def tag(self) -> str:
        """Whose call it is."""
        return self.headers["ws-id"].rpartition("-")[0]


class LedgerApi:
    """The API; it ends with the test.

    :param test: whose it is
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        #: Every call, in the order in which they came.
        self.entries: list[Entry] = []
        #: The status that it answers a method with; 0: nothing, until the test is over.
        self.status = {"POST": 200, "PUT": 200, "DELETE": 200}
        #: The ``Ws-State`` that it sets with a POST.
        self.state = "state"
        #: Whether it answers each message with itself.
        self.echoes = False
        self._accepted: set[str] = set()
        self._changed = threading.Condition(threading.RLock())
        self._over = threading.Event()
        api = self

        class Exchange(BaseHTTPRequestHandler):
            def answer(self) -> None:
                received = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = api._enter(self.command, {name.lower(): value for name, value in self.headers.items()})
                if not status:
                    api._over.wait(2 * PATIENCE)
                    return
                is_echo = api.echoes and self.command == "PUT"
                body = received if is_echo else b'{"code": "OK"}'
                self.send_response(status)
                if is_echo:
                    self.send_header("Ws-Reply", "text")
                if self.command == "POST":
                    self.send_header("Ws-State", api.state)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 1024
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A gateway that is killed hangs up."""

        server = Server(("127.0.0.1", 0), Exchange)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        test.addCleanup(server.server_close)
        test.addCleanup(thread.join)
        test.addCleanup(server.shutdown)
        test.addCleanup(self._over.set)

    def _enter(self, method: str, headers: dict[str, str]) -> int:
        with self._changed:
            entry = Entry(method, headers)
            self.entries.append(entry)
            status = self.status[method]
            if method == "POST" and status == 200:
                self._accepted.add(entry.tag)
            self._changed.notify_all()
            return status

    def of(self, method: str) -> list[Entry]:
        """:returns: the calls of a method"""
        with self._changed:
            return [entry for entry in self.entries if entry.method == method]

    @property
    def accepted(self) -> set[str]:
        """Whom it let in."""
        with self._changed:
            return set(self._accepted)

    def disconnects(self) -> dict[str, list[Entry]]:
        """:returns: the DELETEs of each connection"""
        found: dict[str, list[Entry]] = {}
        for entry in self.of("DELETE"):
            found.setdefault(entry.tag, []).append(entry)
        return found

    def wait_until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait until something is true of what was received.

        :raises AssertionError: if it does not come
        """
        with self._changed:
            if not self._changed.wait_for(is_true, PATIENCE):
                raise AssertionError(f"waited {PATIENCE} s in vain for {what}")
