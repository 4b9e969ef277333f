"""``docs/groups.rst``: each recipe is carried out by a real gateway, with real clients."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from email.message import Message
from email.parser import Parser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlencode

from twisted.trial.unittest import SkipTest

from bench.ports import free_port
from tests.processes import PATIENCE, ROOT, Gateway, environment, start, start_gateway
from tests.system.test_docs import ParsedTestCase
from wsaas.groups.names import decode, encode

try:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection, connect
except ImportError:
    HAVE_WEBSOCKETS = False
else:
    HAVE_WEBSOCKETS = True

PAGE = ROOT / "docs" / "groups.rst"
TOKEN = "a-token-of-this-page"  # of these tests


class Room:
    """Clients of one gateway, each under its name."""

    def __init__(self, test: ParsedTestCase, gateway: Gateway) -> None:
        self._test = test
        self._gateway = gateway
        self._stack = ExitStack()
        test.addCleanup(self._stack.close)

    def enter(self, **asked: str) -> ClientConnection:
        """:returns: a client that connects with this in its URL"""
        url = f"{self._gateway.websocket_url}/?{urlencode(asked, quote_via=quote)}"
        return self._stack.enter_context(connect(url))

    def say(self, client: ClientConnection, kind: str, **said: Any) -> None:
        """Send what is a recipe's."""
        client.send(json.dumps({"type": kind, **said}))

    def hears(self, *clients: ClientConnection) -> Any:
        """:returns: the message that each of these clients gets next"""
        first, *others = [json.loads(client.recv(PATIENCE)) for client in clients]
        for other in others:
            self._test.assertEqual(other, first)
        return first


class RecipesCase(ParsedTestCase):
    """The page's API in Python, put together from its pieces, behind a gateway."""

    def setUp(self) -> None:
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        if find_spec("flask") is None:
            raise SkipTest("Flask is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pieces = self.code(self.parse(PAGE), "python")
        Path(folder.name, "chat.py").write_text("\n\n\n".join(pieces), encoding="utf-8")
        port = free_port()
        self.gateway = start_gateway(self, API_URI=f"127.0.0.1:{port}/websocket", PUBLISH_TOKEN=TOKEN)
        command = [sys.executable, "-m", "flask", "--app", "chat", "run", "--port", str(port)]
        env = environment(PUBLISH_TOKEN=TOKEN, GATEWAY=self.gateway.http_url)
        self.api = start(self, command, env, folder.name)
        self.api.wait_for_port(port)
        self.room = Room(self, self.gateway)
        self.enter, self.say, self.hears = self.room.enter, self.room.say, self.room.hears


class PythonTests(RecipesCase):
    def test_rooms(self) -> None:
        ann, bob = self.enter(user="Ann", room="a/b"), self.enter(user="Böb, jr", room="a/b")
        elsewhere = self.enter(user="Böb, jr", room="a")
        self.say(bob, "say", text="hello")
        self.assertEqual(self.hears(ann, bob), {"number": 1, "from": "Böb, jr", "text": "hello"})
        self.say(elsewhere, "say", text="alone")
        self.assertEqual(self.hears(elsewhere)["number"], 2)

    def test_history(self) -> None:
        ann = self.enter(user="ann", room="7")
        for text in ("one", "two"):
            self.say(ann, "say", text=text)
            self.hears(ann)
        self.say(self.enter(user="eve", room="8"), "say", text="elsewhere")
        bob = self.enter(user="bob", room="7")
        self.say(ann, "say", text="three")
        self.say(bob, "enter")
        # In which order, and whether the third is in the history too, is chance; that it comes is not.
        history, live = sorted([self.hears(bob), self.hears(bob)], key=len)
        self.assertEqual([text["text"] for text in history["history"][:2]], ["one", "two"])
        self.assertIn(history["history"][2:], ([], [live]))
        self.assertEqual(live["text"], "three")
        self.hears(ann)
        self.say(ann, "enter")
        self.assertEqual([text["text"] for text in self.hears(ann)["history"]], ["one", "two", "three"])

    def test_another_room(self) -> None:
        ann, bob, eve = (self.enter(user=user, room=room) for user, room in (("ann", "7"), ("bob", "7"), ("eve", "8")))
        self.say(bob, "move", room="8")
        self.assertEqual(self.hears(ann, bob, eve), {"moved": "bob"})
        self.say(bob, "say", text="here")
        self.assertEqual(self.hears(bob, eve)["text"], "here")
        self.say(ann, "say", text="there")
        self.assertEqual(self.hears(ann)["text"], "there")

    def test_everyone_but_the_sender(self) -> None:
        ann, bob = self.enter(user="ann", room="7"), self.enter(user="bob", room="7")
        for kind, said, heard in (("draw", {"line": [0, 1]}, {"line": [0, 1]}), ("typing", {}, {"typing": "ann"})):
            self.say(ann, kind, **said)
            self.assertEqual(self.hears(bob), heard)
        self.say(bob, "say", text="hm")
        self.assertEqual(self.hears(ann, bob)["text"], "hm")

    def test_private_messages(self) -> None:
        ann, *bobs = self.enter(user="ann", room="7"), *(self.enter(user="Böb", room=room) for room in ("7", "8", "8"))
        eve = self.enter(user="eve", room="7")
        self.say(ann, "whisper", to="Böb", text="psst")
        self.assertEqual(self.hears(ann, *bobs), {"from": "ann", "to": "Böb", "whispers": "psst"})
        self.say(bobs[0], "whisper", to="Böb", text="a note for my other tabs")
        self.hears(*bobs)
        self.say(eve, "whisper", to="nobody", text="?")
        self.hears(eve)
        for client in (ann, eve):
            self.say(client, "enter")
            self.assertEqual(self.hears(client), {"history": []})

    def test_presence(self) -> None:
        ann = self.enter(user="ann", room="7")
        tabs = [self.enter(user="Böb", room="7") for _ in range(3)]
        for left in (2, 1, 0):
            tabs.pop().close()
            self.assertEqual(self.hears(ann, *tabs), {"left": "Böb", "tabs": left})

    def test_log_out_my_other_tabs(self) -> None:
        ann, bob, *others = (self.enter(user=user, room="7") for user in ("ann", "bob", "bob", "bob"))
        self.say(bob, "log_out_others")
        heard = [self.hears(bob) for _ in range(3)]
        self.assertIn({"closed": 2}, heard)
        for client in others:
            with self.assertRaises(ConnectionClosed):
                while True:
                    client.recv(PATIENCE)
            self.assertEqual((client.close_code, client.close_reason), (4001, "logged out"))
        self.assertEqual([self.hears(ann) for _ in others], [{"left": "bob", "tabs": 1}] * 2)


class PHPTests(ParsedTestCase):
    """The page's API in PHP."""

    def test_all_of_it(self) -> None:
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        php = shutil.which("php")
        if php is None:
            raise SkipTest("PHP is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        [source] = self.code(self.parse(PAGE), "php")
        Path(folder.name, "chat.php").write_text(source, encoding="utf-8")
        port = free_port()
        command = [php, "-d", "display_errors=1", "-S", f"127.0.0.1:{port}", "chat.php"]
        start(self, command, environment(), folder.name).wait_for_port(port)
        room = Room(self, start_gateway(self, API_URI=f"127.0.0.1:{port}"))
        ann, bob, other = (room.enter(user=user) for user in ("ann", "Böb, jr", "Böb, jr"))
        room.say(bob, "say", text="hello")
        said = {"from": "Böb, jr", "type": "say", "text": "hello"}
        self.assertEqual(room.hears(ann, bob, other), said)
        room.say(ann, "typing")
        self.assertEqual(room.hears(bob, other), {"from": "ann", "type": "typing"})
        room.say(bob, "whisper", to="ann", text="psst")
        self.assertEqual(room.hears(ann, bob, other)["text"], "psst")
        bob.close()
        self.assertEqual(room.hears(ann, other), {"from": "Böb, jr", "left": "Böb, jr"})


class RequestTests(RecipesCase):
    """Each block of commands, with Ann in one tab and Bob in two; and the answers that the page shows."""

    def test_requests(self) -> None:
        if not shutil.which("curl"):
            raise SkipTest("curl is not installed")
        section = self.section(PAGE, "From anywhere: requests")
        [setting] = [block for block in self.code(section) if block.startswith("BASE=")]
        setting = setting.replace("http://localhost:8080", self.gateway.http_url)
        blocks = self.code(section, "sh")
        self.assertGreater(len(blocks), 5)
        for block in blocks:
            clients = [self.enter(user=user, room="room-7") for user in ("ann", "bob", "bob")]
            for line in block.splitlines():
                if line.startswith("curl "):
                    answer = self.run_line(setting, line)
                else:
                    shown = json.loads(line)
                    self.assertEqual({name: answer.get(name) for name in shown}, shown, f"{block}\n{answer}")
            for client in clients:
                client.close()
            for _ in clients:
                self.api.wait_for_line("DELETE")
            self.until_nobody_is_left(setting)

    def test_members(self) -> None:
        """What a listing tells of each."""
        self.enter(user="Böb", room="room-7")
        section = self.section(PAGE, "From anywhere: requests")
        setting = self.code(section)[0].replace("http://localhost:8080", self.gateway.http_url)
        [line] = [line for block in self.code(section, "sh") for line in block.splitlines() if "/members?" in line]
        [member] = self.run_line(setting, line)["members"]
        self.assertEqual((member["user"], member["state"]), ("Böb", "room-7"))
        self.assertEqual(set(member), {"id", "user", "state", "connected_at"})
        [member] = self.run_line(setting, line.replace("limit=1000", "ws_uri=1"))["members"]
        self.assertTrue(member["ws_uri"].startswith(self.gateway.http_url))

    def run_line(self, setting: str, line: str) -> dict[str, Any]:
        """:returns: the answer to a command of the page"""
        script = f"{setting}\n{line.replace('curl', 'curl -sS', 1)}"
        env = environment(PUBLISH_TOKEN=TOKEN)
        done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def until_nobody_is_left(self, setting: str) -> None:
        """Wait until the gateway has seen the ends of all clients."""
        deadline = threading.Event()
        timer = threading.Timer(PATIENCE, deadline.set)
        timer.start()
        self.addCleanup(timer.cancel)
        while self.run_line(setting, 'curl -H "$AUTH" $BASE/all')["members"]:
            self.assertFalse(deadline.is_set())


class WireTests(ParsedTestCase):
    """The calls and answers that the page shows."""

    calls: ClassVar[list[tuple[str, Message, bytes]]]

    def test_on_the_wire(self) -> None:
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        blocks = [self.parts(block) for block in self.code(self.section(PAGE, "On the wire"), "http")]
        shown, answers = blocks[::2], blocks[1::2]
        self.assertEqual([first.split()[0] for first, _, _ in shown], ["POST", "PUT", "DELETE"])
        api = ShownApi({call[0].split()[0]: answer for call, answer in zip(shown, answers, strict=True)})
        self.addCleanup(api.close)
        gateway = start_gateway(self, API_URI=f"127.0.0.1:{api.port}/websocket")
        room = Room(self, gateway)
        path = urlencode({"room": 7})
        bob, other = room.enter(room="7"), room.enter(room="7")
        self.assertEqual(shown[0][1]["Ws-Path"], f"/?{path}")
        bob.send(shown[1][2])
        for client in (bob, other):
            self.assertEqual(client.recv(PATIENCE), answers[1][2])
        bob.close()
        self.assertEqual(other.recv(PATIENCE), answers[2][2])
        made = {call.split()[0]: (call, headers, body) for call, headers, body in api.calls}
        for first, headers, body in shown:
            call = made[first.split()[0]]
            self.assertEqual(call[0], first)
            self.assertEqual({name: call[1][name] for name in headers}, dict(headers.items()))
            if body:
                self.assertEqual(call[2], body)

    def parts(self, block: str) -> tuple[str, Message, str]:
        """:returns: the first line, the headers and the body of a message"""
        head, _, body = block.partition("\n\n")
        first, _, fields = head.partition("\n")
        return first, Parser().parsestr(fields, headersonly=True), body


class ShownApi:
    """Answers each call as the page does.

    :ivar calls: first line, headers and body of each
    """

    def __init__(self, answers: dict[str, tuple[str, Message, str]]) -> None:
        self.calls: list[tuple[str, Message, str]] = []
        shown = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                shown.calls.append((self.requestline, self.headers, body.decode()))
                first, headers, text = answers[self.command]
                self.send_response(int(first.split()[1]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_PUT = do_DELETE = answer  # the names are http.server's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class NamesTests(ParsedTestCase):
    """How names are encoded, in each language that is installed."""

    AWKWARD: ClassVar = ["1, admins", "a/b", "a%2Fb", "☕ Zoë", "x;y", "&?#+", "'()!", "~-._:@"]

    def test_each_way_of_encoding(self) -> None:
        rows = list(self.rows(self.section(PAGE, "Names")))
        ways = {row[0].astext(): row[1].astext() for row in rows}
        names = json.dumps(self.AWKWARD)
        commands = {
            "PHP": ["php", "-r", f"foreach (json_decode({names!r}) as $name) echo {ways['PHP']}, PHP_EOL;"],
            "Python": [sys.executable, "-c", f"import urllib.parse\nfor name in {names}: print({ways['Python']})"],
            "JavaScript": ["node", "-e", f"for (const name of {names}) console.log({ways['JavaScript']})"],
        }
        ran = 0
        for language, command in commands.items():
            if language == "PHP":
                command[2] = command[2].replace(repr(names), shlex.quote(names.replace("'", "\\u0027")))
            if shutil.which(command[0]) is None:
                continue
            ran += 1
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            self.assertEqual([decode(line) for line in done.stdout.splitlines()], self.AWKWARD, language)
        self.assertGreaterEqual(ran, 1)
        self.assertEqual([decode(encode(name)) for name in self.AWKWARD], self.AWKWARD)
        self.assertEqual([unquote(encode(name)) for name in self.AWKWARD], self.AWKWARD)
