"""An API on loopback, in threads, that welcomes everyone and keeps a ledger: for processes under test."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Ledger:
    """What the API was told: who came and who is gone."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.gone: list[str] = []


class WelcomeApi(ThreadingHTTPServer):
    """An API that welcomes everyone and keeps a ledger."""

    daemon_threads = True

    def __init__(self) -> None:
        self.ledger = Ledger()
        super().__init__(("127.0.0.1", 0), _Callback)


class _Callback(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WelcomeApi

    def do_POST(self) -> None:
        """Somebody came; it takes a moment to look at them."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.005)
        self.server.ledger.came.append(self.headers["Ws-Uri"])
        self._answer(b'{"code": "OK"}')

    def do_DELETE(self) -> None:
        """Somebody is gone."""
        self.server.ledger.gone.append(self.headers["Ws-Uri"])
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        # In one write: two would wait for each other's acknowledgement.
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing."""
