"""The examples, run as their README says: behind a real gateway; and called directly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench.ports import free_port
from tests.browser import start_browser
from tests.processes import ROOT, Gateway, Program, environment, start, start_gateway
from tests.signatures import sign
from tests.unit.settings.test_read import SECRETS

try:
    from websockets.exceptions import InvalidStatus
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

    def start_gateway(self, **settings: str) -> Gateway:
        """Start the gateway in front of the example."""
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)
        return start_gateway(self, API_URI=f"127.0.0.1:{self.port}/websocket", **settings)

    def enter(self, gateway: Gateway, **asked: str) -> ClientConnection:
        """:returns: a client that asks for this room, under this name"""
        url = f"{gateway.websocket_url}/?{urlencode(asked, quote_via=quote)}"
        return self.stack.enter_context(connect(url, max_size=None))

    def assertHears(self, client: ClientConnection, *messages: str | bytes) -> None:
        """A client gets these messages next, in this order."""
        self.assertEqual([client.recv(timeout=PATIENCE) for _ in messages], list(messages))

    def test_text(self) -> None:
        """Text comes back as text; beyond ASCII and without content, too."""
        client = self.enter(self.start_gateway())
        for message in ("hello", "žluťoučký 🐎\r\n\0 ", "", "0", '{"code": "OK"}'):
            client.send(message)
            self.assertHears(client, message)

    def test_binary(self) -> None:
        """Binary comes back as binary, byte for byte."""
        client = self.enter(self.start_gateway())
        for message in (bytes(range(256)), b"", b"plain", bytes(100_000)):
            client.send(message)
            self.assertHears(client, message)

    def test_everyone_in_the_room(self) -> None:
        """What one sends arrives at each, in order and of its kind, and once only; and nowhere else."""
        gateway = self.start_gateway()
        clients = [self.enter(gateway, room="7") for _ in range(3)]
        elsewhere = [self.enter(gateway, room=room) for room in ("70", "0")] + [self.enter(gateway)]
        sent: list[str | bytes] = ["one ☝", b"\x00two\xff", "", "four"]
        for message in sent:
            clients[0].send(message)
        for client in clients:
            self.assertHears(client, *sent)
        clients[1].send("last")  # Were there more, they would come before this one.
        for client in clients:
            self.assertHears(client, "last")
        for client in elsewhere:
            client.send("alone")
            self.assertHears(client, "alone")

    def test_one_leaves(self) -> None:
        """The room is told, by name; the others go on."""
        gateway = self.start_gateway()
        leaving = self.enter(gateway, room="a/b", name="Bob & Zoë")
        nameless, other = self.enter(gateway, room="a/b"), self.enter(gateway, room="a/b", name="Ann")
        leaving.close()
        for client in (nameless, other):
            self.assertHears(client, "Bob & Zoë left")
        nameless.close()
        for message in ("still here", b"and here"):
            other.send(message)
            self.assertHears(other, message)

    def test_names_that_clients_make_up(self) -> None:
        """Each is one room, whatever is in it; or it is refused."""
        gateway = self.start_gateway()
        names = ["1", "admins", "1, admins", "1%2C admins", "groups/1", "users/Ann", "all", "☝"]
        clients = {name: self.enter(gateway, room=name, name="Ann") for name in names}
        for name, client in clients.items():
            client.send(f"in {name}")
            self.assertHears(client, f"in {name}")
        for refused in ("..", "x" * 65, "\0", "a\r\nWs-Close: 1000"):
            with self.assertRaises(InvalidStatus) as caught:
                self.enter(gateway, room=refused)
            self.assertEqual(caught.exception.response.status_code, 502)

    # -- called directly -------------------------------------------------------------------------

    def call(
        self, method: str, path: str | None, body: bytes | None = None, content_type: str = TEXT, user: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Do what the gateway does: one callback to the example.

        :param path: None to leave the header out.
        :returns: status, headers by lower-case name, body.
        """
        headers = {} if path is None else {"Ws-Path": path}
        if body is not None:
            headers["Content-Type"] = content_type
        if user:
            headers["Ws-User"] = user
        api = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            api.request(method, "/websocket", body, headers)
            answer = api.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            api.close()

    def test_post(self) -> None:
        """The answer joins a group, and says who the client is."""
        for path, group, user in (
            ("/", "hall", ""),
            ("/chat", "hall", ""),
            ("/?room=7&name=Bob", "7", "Bob"),
            ("/?name=0&room=0", "0", "0"),
            ("//[?room=a%20b", "a%20b", ""),
            ("/?room=1,%20admins&name=a;b", "1%2C%20admins", "a%3Bb"),
            ("/?room=%E2%98%9D&x=?", "%E2%98%9D", ""),
            ("/?room=&name=", "hall", ""),
            ("/?room", "hall", ""),
        ):
            status, headers, answer = self.call("POST", path, b"{}", "application/json")
            self.assertEqual((status, json.loads(answer)), (200, {"code": "OK"}), path)
            self.assertEqual((headers["ws-join"], headers.get("ws-user", "")), (group, user), path)

    def test_put(self) -> None:
        """The answer says which kind of message it is, and for whom, and repeats its body."""
        for content_type, kind, body in (
            (TEXT, "text", "ě".encode()),
            ("application/json", "text", b'{"a": 1}'),
            (BINARY, "binary", b"\xff\x00"),
            (TEXT, "text", b""),
            (BINARY, "binary", b""),
        ):
            status, headers, answer = self.call("PUT", "/?room=a/b", body, content_type)
            self.assertEqual((status, headers["ws-publish"], answer), (200, f"{kind} groups/a%2Fb", body))

    def test_delete(self) -> None:
        """The answer tells the room who has left, if it has a name."""
        status, headers, answer = self.call("DELETE", "/?room=7", user="Zo%C3%AB")
        self.assertEqual((status, headers["ws-publish"], answer.decode()), (200, "text groups/7", "Zoë left"))
        status, headers, _answer = self.call("DELETE", "/?room=7")
        self.assertEqual(status, 200)
        self.assertNotIn("ws-publish", headers)

    def test_call_without_path(self) -> None:
        """A request that does not come from a gateway is a bad request."""
        for method, body in (("POST", b"{}"), ("PUT", b"x"), ("DELETE", None)):
            status, _headers, _answer = self.call(method, None, body)
            self.assertEqual(status, 400, method)

    # -- with secrets ----------------------------------------------------------------------------

    def restart(self, **settings: str) -> None:
        """Start it once more, on another port, with these in its environment."""
        self.port = free_port()
        self.run_example(self.port, **settings).wait_for_port(self.port)

    def test_secrets(self) -> None:
        """It takes what the gateway signs, while secrets change: with a name, and the header that sorts beside it."""
        self.restart(API_SECRET=SECRETS)
        gateway = self.start_gateway(API_SECRET=f"a-secret-yet-to-come {SECRETS.split()[1]}")
        leaving, other = self.enter(gateway, name="Bob"), self.enter(gateway, name="Ann")
        leaving.close()
        self.assertHears(other, "Bob left")
        for message in ("hello ☝", b"\0\xff", ""):
            other.send(message)
            self.assertHears(other, message)

    def signed(self, secret: str, method: str, path: str, body: bytes | None = None, age: int = 0) -> dict[str, str]:
        """:returns: the headers of a signed call"""
        headers = {
            "Ws-Path": path,
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
        path = "/?room=7"
        new, old = SECRETS.split()
        for secret in (new, old, f"unknown-{new} {old}"):
            for method, body in (("POST", b"{}"), ("PUT", b"x"), ("PUT", b""), ("DELETE", None)):
                right = self.signed(secret, method, path, body)
                self.assertEqual(self.send(method, body, right), 200, (method, body))
        right = self.signed(new, "POST", path, b"{}")
        for headers in (
            {name: value for name, value in right.items() if name != "Ws-Signature"},
            {name: value for name, value in right.items() if name != "Ws-Timestamp"},
            {name: value for name, value in right.items() if name != "Ws-Id"},
            {**right, "Ws-Path": "/?room=8"},
            {**right, "Ws-User": "admin"},
            {**right, "Ws-State": "admin"},
            {**right, "Ws-Signature": ""},
            {**right, "Ws-Signature": right["Ws-Signature"][:-1]},
            {**right, "Ws-Signature": right["Ws-Signature"].replace("v1", "v2")},
            {**right, "Ws-Signature": "\xe9" * 67},
            {**right, "Ws-Timestamp": str(int(right["Ws-Timestamp"]) + 1)},
            self.signed(f"unknown-{new}", "POST", path, b"{}"),
            self.signed(new, "PUT", path, b"{}"),
            self.signed(new, "POST", path, b"{ }"),
            self.signed(new, "POST", path, b"{}", age=310),
            self.signed(new, "POST", path, b"{}", age=-310),
        ):
            self.assertEqual(self.send("POST", b"{}", headers), 403, headers)

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
    """``examples/php``."""

    source = EXAMPLES / "php" / "index.php"

    def run_example(self, port: int, **settings: str) -> Program:
        """Start it with PHP's built-in server."""
        php = shutil.which("php")
        if php is None:
            raise SkipTest("PHP is not installed")
        command = [php, "-d", "display_errors=1", "-S", f"127.0.0.1:{port}", self.source.name]
        return start(self, command, environment(**settings), self.source.parent)

    def test_in_a_browser(self) -> None:
        """Two tabs with ``room.html``, opened as a file."""
        driver = start_browser(self)  # or there is no selenium, and the test is skipped
        from selenium.webdriver.support.ui import WebDriverWait

        gateway = self.start_gateway()

        def read(tab: str) -> list[str]:
            driver.switch_to.window(tab)
            return [item.text for item in driver.find_elements("css selector", "#log > li")]

        def until(tab: str, *said: str) -> None:
            WebDriverWait(driver, PATIENCE, poll_frequency=0.05).until(lambda _: read(tab) == list(said))

        tabs = []
        for name in ("Ann", "Bob", "Eve"):
            driver.switch_to.new_window("tab")
            tabs.append(driver.current_window_handle)
            room = "elsewhere" if name == "Eve" else "7 & <b>8</b>"
            asked = {"room": room, "name": name, "gateway": gateway.websocket_url}
            driver.get(f"{(EXAMPLES / 'room.html').as_uri()}?{urlencode(asked)}")
            self.assertEqual(driver.find_element("tag name", "h1").text, f"{name} in room {room}")
            until(tabs[-1], f"{name} is here")
        ann, bob, eve = tabs
        until(ann, "Ann is here", "Bob is here")
        driver.find_element("id", "text").send_keys("hello <i>Bob</i>")
        driver.find_element("tag name", "button").click()
        until(bob, "Bob is here", "Ann: hello <i>Bob</i>")
        driver.close()
        until(ann, "Ann is here", "Bob is here", "Ann: hello <i>Bob</i>", "Bob left")
        until(eve, "Eve is here")
