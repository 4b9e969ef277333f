"""The examples, run as their README says: behind a real gateway and, for what is hard to provoke there, a fake one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench.ports import free_port
from tests.processes import ROOT, Program, environment, start, start_gateway
from tests.signatures import sign
from tests.unit.settings.test_read import SECRETS

try:
    from websockets.sync.client import ClientConnection, connect
except ImportError:
    HAVE_WEBSOCKETS = False
else:
    HAVE_WEBSOCKETS = True

# Trial runs whatever is a TestCase: the tests that the examples share become one only in each subclass.
if TYPE_CHECKING:
    Base = SynchronousTestCase
else:
    Base = object

EXAMPLES = ROOT / "examples"
PATIENCE = 15.0  #: seconds for one message to arrive

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"


class Clients:
    """A fake gateway, as far as pushes go: each path is a client, which is there or is not.

    :ivar pushed: what each client was sent, by its path.
    :ivar absent: the paths that are answered with 404.
    """

    def __init__(self) -> None:
        self.pushed: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.absent: set[str] = set()
        clients = self

        class Push(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                clients.pushed[self.path].append((self.headers["Content-Type"], body))
                status, code = (404, "NOT_FOUND") if self.path in clients.absent else (200, "OK")
                answer = json.dumps({"code": code}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Push)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class ExampleTests(ABC, Base):
    """What each example does; mixed into one test case for each."""

    source: Path
    port: int

    @abstractmethod
    def run_example(self, port: int, **settings: str) -> Program:
        """Start the example on a port, with these in its environment, or skip the test where it cannot run."""

    def setUp(self) -> None:
        """Start the example on a free port."""
        self.port = free_port()
        self.run_example(self.port).wait_for_port(self.port)

    # -- behind the real gateway -----------------------------------------------------------------

    def connect(self, count: int, **settings: str) -> list[ClientConnection]:
        """Start the gateway in front of the example and connect so many clients to it."""
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        gateway = start_gateway(self, API_URI=f"127.0.0.1:{self.port}/websocket", **settings)
        stack = ExitStack()
        self.addCleanup(stack.close)
        return [stack.enter_context(connect(gateway.websocket_url, max_size=None)) for _ in range(count)]

    def test_echoes_text(self) -> None:
        """Text comes back to its sender as text; beyond ASCII and without content, too."""
        (client,) = self.connect(1)
        for message in ("hello", "žluťoučký 🐎\r\n\0 ", "", "0", '{"code": "OK"}'):
            client.send(message)
            self.assertEqual(client.recv(timeout=PATIENCE), message)

    def test_echoes_binary(self) -> None:
        """Binary comes back as binary, byte for byte."""
        (client,) = self.connect(1)
        for message in (bytes(range(256)), b"", b"plain", bytes(100_000)):
            client.send(message)
            self.assertEqual(client.recv(timeout=PATIENCE), message)

    def test_broadcasts(self) -> None:
        """What one sends arrives at every other, in order and of its kind, and once only at the sender."""
        clients = self.connect(3)
        sent: list[str | bytes] = ["one ☝", b"\x00two\xff", "", "four"]
        for message in sent:
            clients[0].send(message)
        for client in clients:
            self.assertEqual([client.recv(timeout=PATIENCE) for _ in sent], sent)
        clients[1].send("last")  # Were there more, they would come before this one.
        for client in clients:
            self.assertEqual(client.recv(timeout=PATIENCE), "last")

    def test_one_leaves(self) -> None:
        """After one has left, the message of another still reaches the rest."""
        leaving, sender, other = self.connect(3)
        leaving.close()
        for message in ("still here", b"and here"):
            sender.send(message)
            self.assertEqual(sender.recv(timeout=PATIENCE), message)
            self.assertEqual(other.recv(timeout=PATIENCE), message)

    # -- behind a fake one -----------------------------------------------------------------------

    def call(
        self, method: str, ws_uri: str | None, body: bytes | None = None, content_type: str = TEXT
    ) -> tuple[int, dict[str, str], bytes]:
        """Do what the gateway does: one callback to the example.

        :param ws_uri: None to leave the header out.
        :returns: status, headers by lower-case name, body.
        """
        headers = {} if ws_uri is None else {"Ws-Uri": ws_uri}
        if body is not None:
            headers["Content-Type"] = content_type
        api = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            api.request(method, "/websocket", body, headers)
            answer = api.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            api.close()

    def post(self, ws_uri: str) -> None:
        """Announce a client, and check that it is welcome."""
        body = json.dumps({"ws_uri": ws_uri}).encode()
        status, _headers, answer = self.call("POST", ws_uri, body, "application/json")
        self.assertEqual((status, json.loads(answer)), (200, {"code": "OK"}))

    def fake_clients(self) -> Clients:
        """A fake gateway that ends with the test."""
        clients = Clients()
        self.addCleanup(clients.close)
        return clients

    def test_reply(self) -> None:
        """The answer to a PUT says which kind of message it is, and repeats its body."""
        for content_type, kind, body in (
            (TEXT, "text", "ě".encode()),
            ("application/json", "text", b'{"a": 1}'),
            (BINARY, "binary", b"\xff\x00"),
            (TEXT, "text", b""),
            (BINARY, "binary", b""),
        ):
            status, headers, answer = self.call("PUT", "http://127.0.0.1:1/a", body, content_type)
            self.assertEqual((status, headers.get("ws-reply"), answer), (200, kind, body))

    def test_push_keeps_type(self) -> None:
        """The others get the message under its own content type, whether or not their ws_uri has a scheme."""
        clients = self.fake_clients()
        self.post(f"http://{clients.host}/a")
        self.post(f"{clients.host}/b")
        self.call("PUT", f"http://{clients.host}/sender", b"\xff\x00", BINARY)
        self.call("PUT", f"http://{clients.host}/sender", b"", TEXT)
        expected = [(BINARY, b"\xff\x00"), (TEXT, b"")]
        self.assertEqual(clients.pushed, {"/a": expected, "/b": expected})

    def test_404_forgets(self) -> None:
        """A client whose push is answered with 404 is pushed to no more; one that fails otherwise is kept."""
        clients = self.fake_clients()
        clients.absent.add("/gone")
        self.post(f"http://{clients.host}/gone")
        self.post(f"http://{clients.host}/here")
        self.post(f"http://127.0.0.1:{free_port()}/unreachable")
        for body in (b"1", b"2"):
            status, _headers, _answer = self.call("PUT", f"http://{clients.host}/sender", body)
            self.assertEqual(status, 200)
        self.assertEqual(clients.pushed, {"/gone": [(TEXT, b"1")], "/here": [(TEXT, b"1"), (TEXT, b"2")]})

    def test_delete_forgets(self) -> None:
        """After its DELETE a client gets nothing, even if its POST came twice; a DELETE for a stranger is fine."""
        clients = self.fake_clients()
        for path in ("leaving", "leaving", "here"):
            self.post(f"http://{clients.host}/{path}")
        for path in ("leaving", "leaving", "stranger"):
            status, _headers, answer = self.call("DELETE", f"http://{clients.host}/{path}")
            self.assertEqual((status, json.loads(answer)), (200, {"code": "OK"}))
        self.call("PUT", f"http://{clients.host}/sender", b"x")
        self.assertEqual(clients.pushed, {"/here": [(TEXT, b"x")]})

    def test_call_without_ws_uri(self) -> None:
        """A request that does not come from a gateway is a bad request, and leaves the example in order."""
        for method, body in (("POST", b"{}"), ("PUT", b"x"), ("DELETE", None)):
            status, _headers, _answer = self.call(method, None, body)
            self.assertEqual(status, 400, method)
        clients = self.fake_clients()
        self.post(f"http://{clients.host}/here")
        self.call("PUT", f"http://{clients.host}/sender", b"x")
        self.assertEqual(clients.pushed, {"/here": [(TEXT, b"x")]})

    # -- with secrets ----------------------------------------------------------------------------

    def restart(self, **settings: str) -> None:
        """Start it once more, on another port, with these in its environment."""
        self.port = free_port()
        self.run_example(self.port, **settings).wait_for_port(self.port)

    def test_secrets(self) -> None:
        """It takes what the gateway signs, while secrets and tokens change, and its pushes are taken."""
        self.restart(API_SECRET=SECRETS, PUSH_TOKEN="a-token")
        secrets = {"API_SECRET": f"a-secret-yet-to-come {SECRETS.split()[1]}", "PUSH_TOKEN": "next a-token"}
        leaving, sender, other = self.connect(3, **secrets)
        leaving.close()
        for message in ("hello ☝", b"\0\xff", ""):
            sender.send(message)
            self.assertEqual(sender.recv(timeout=PATIENCE), message)
            self.assertEqual(other.recv(timeout=PATIENCE), message)

    def signed(self, secret: str, method: str, path: str, body: bytes | None = None, age: int = 0) -> dict[str, str]:
        """:returns: the headers of a signed call"""
        headers = {
            "Ws-Uri": path,
            "Ws-Id": "tag-0",
            "Ws-Timestamp": str(int(time.time()) - age),
            "Ws-User-Agent": "\xe9  a, b",
            # Behind the line before it, though its name comes first: lines are sorted, not names.
            "Ws-User": "%C3%BCnal",
        }
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return {**headers, "Ws-Signature": sign(secret.encode(), method, pairs, body or b"")}

    def send(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> int:
        """:returns: the status of the answer to a call with these headers"""
        api = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            api.request(method, "/websocket", body, {"Content-Type": TEXT, **headers})
            return api.getresponse().status
        finally:
            api.close()

    def test_forged(self) -> None:
        """It takes nothing that is not signed, is signed with another secret, was changed, or is old."""
        self.restart(API_SECRET=SECRETS)
        clients = self.fake_clients()
        uri = f"http://{clients.host}/a"
        new, old = SECRETS.split()
        for secret in (new, old, f"unknown-{new} {old}"):
            for method, body in (("POST", b"{}"), ("PUT", b"x"), ("PUT", b""), ("DELETE", None)):
                right = self.signed(secret, method, uri, body)
                self.assertEqual(self.send(method, body, right), 200, (method, body))
        right = self.signed(new, "POST", uri, b"{}")
        for headers in (
            {name: value for name, value in right.items() if name != "Ws-Signature"},
            {name: value for name, value in right.items() if name != "Ws-Timestamp"},
            {name: value for name, value in right.items() if name != "Ws-Id"},
            {**right, "Ws-Uri": f"http://{clients.host}/b"},
            {**right, "Ws-State": "admin"},
            {**right, "Ws-Signature": ""},
            {**right, "Ws-Signature": right["Ws-Signature"][:-1]},
            {**right, "Ws-Signature": right["Ws-Signature"].replace("v1", "v2")},
            {**right, "Ws-Signature": "\xe9" * 67},
            {**right, "Ws-Timestamp": str(int(right["Ws-Timestamp"]) + 1)},
            self.signed(f"unknown-{new}", "POST", uri, b"{}"),
            self.signed(new, "PUT", uri, b"{}"),
            self.signed(new, "POST", uri, b"{ }"),
            self.signed(new, "POST", uri, b"{}", age=310),
            self.signed(new, "POST", uri, b"{}", age=-310),
        ):
            self.assertEqual(self.send("POST", b"{}", headers), 403, headers)
        self.assertEqual(self.send("PUT", b"x", self.signed(new, "PUT", f"http://{clients.host}/sender", b"x")), 200)
        self.assertEqual(clients.pushed, {})

    def test_is_short(self) -> None:
        """It stays under 70 lines, none of them too long to read."""
        lines = self.source.read_text().splitlines()
        self.assertLess(len(lines), 70)
        self.assertLessEqual(max(map(len, lines)), 120)


class FlaskTests(ExampleTests, SynchronousTestCase):
    """``examples/flask``."""

    source = EXAMPLES / "flask" / "app.py"

    def run_example(self, port: int, **settings: str) -> Program:
        """Start it with Flask's own development server."""
        if find_spec("flask") is None:
            raise SkipTest("Flask is not installed")
        command = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)]
        return start(self, command, environment(**settings), self.source.parent)


class ExpressTests(ExampleTests, SynchronousTestCase):
    """``examples/express``."""

    source = EXAMPLES / "express" / "server.js"

    def run_example(self, port: int, **settings: str) -> Program:
        """Start it with Node; Express may lie beside it, on ``NODE_PATH`` or where Debian's package puts it."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("Node is not installed")
        node_path = os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"]))
        env, folder = environment(NODE_PATH=node_path, PORT=str(port), **settings), self.source.parent
        found = subprocess.run(
            [node, "-e", "require.resolve('express')"], env=env, cwd=folder, capture_output=True, check=False
        )
        if found.returncode:
            raise SkipTest("Express is not installed: set NODE_PATH to the node_modules folder that holds it")
        return start(self, [node, self.source.name], env, folder)


class PHPTests(ExampleTests, SynchronousTestCase):
    """``examples/php``, with the one process that PHP's server has by default."""

    source = EXAMPLES / "php" / "index.php"
    workers: str | None = None

    def run_example(self, port: int, **settings: str) -> Program:
        """Start it with PHP's built-in server, its list of clients in a folder of this test."""
        php = shutil.which("php")
        if php is None:
            raise SkipTest("PHP is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings["CLIENTS_DIR"] = folder.name
        if self.workers is not None:
            settings["PHP_CLI_SERVER_WORKERS"] = self.workers
        command = [php, "-d", "display_errors=1", "-S", f"127.0.0.1:{port}", self.source.name]
        return start(self, command, environment(**settings), self.source.parent)


class PHPWorkersTests(PHPTests):
    """``examples/php`` with several workers, which share the list of clients."""

    workers = "4"
