"""The process: settings good and bad, its log, and how it ends (protocol §5). Each test runs ``twistd wsaas``."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.processes import Gateway, environment, start_gateway, twistd
from tests.wire import CLOSE, TEXT, close_payload, frame, handshake
from wsaas import __version__
from wsaas.settings.table import SETTINGS
from wsaas.tap import Options, makeService

PATIENCE = 15.0  #: seconds for which a test waits for one thing

SECRETS = {
    "token": "tok-3f9a1b",
    "Authorization": "Bearer auth-7c2d4e",
    "Cookie": "session=cookie-91ab5f",
    "message": "message-5e6f70",
    "reply": "reply-8a9b0c",
    "state": "state-1d2e3f",
    "API_HEADERS": "apikey-4a5b6c",
    "API_SECRET": "signing-6b7c8d9e0f1a",
    "PUSH_TOKEN": "pusher-2c3d4e",
    "wrong": "guess-0d1e2f",
}


class Api:
    """The user's API, in threads of its own: says OK to everything and keeps what it was asked.

    :param silent: the methods that get no answer until :meth:`close`
    """

    def __init__(self, silent: frozenset[str] = frozenset()) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self._changed = threading.Condition()
        self._over = threading.Event()
        api = self

        class Callback(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with api._changed:
                    api.calls.append((self.command, dict(self.headers.items()), body))
                    api._changed.notify_all()
                if self.command in silent:
                    api._over.wait()
                    self.close_connection = True
                    return
                answer = b'{"code": "OK"}'
                self.send_response(200)
                if self.command == "POST":
                    self.send_header("Ws-State", SECRETS["state"])
                if self.command == "PUT":
                    answer = SECRETS["reply"].encode()
                    self.send_header("Ws-Reply", "text")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_PUT = do_DELETE = do_POST

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.uri = f"127.0.0.1:{self._server.server_port}/hook"

    def wait_for(self, method: str, count: int = 1) -> list[dict[str, str]]:
        """:returns: the headers of the calls of a method, once there are so many"""

        def found() -> list[dict[str, str]]:
            return [headers for called, headers, _ in self.calls if called == method]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, PATIENCE):
                raise AssertionError(f"no {count} calls of {method}: {self.calls}")
            return found()

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Client:
    """A WebSocket client on a blocking socket.

    :param port: of the gateway
    """

    def __init__(self, port: int, request: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(request)
        self.status = int(self._stream.readline().split()[1])
        while self._stream.readline().strip():
            pass

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """:returns: opcode and payload of the next frame, a short one"""
        first, length = self._stream.read(2)
        return first & 0x0F, self._stream.read(length)

    def close(self) -> None:
        """End the TCP connection."""
        self._stream.close()
        self._socket.close()


class ProcessTestCase(SynchronousTestCase):
    """What tests of the process have in common."""

    def api(self, *silent: str) -> Api:
        """:returns: an API that is running"""
        api = Api(frozenset(silent))
        self.addCleanup(api.close)
        return api

    def client(self, gateway: Gateway, path: str = "/", headers: tuple[tuple[str, str], ...] = ()) -> Client:
        """:returns: a client that has its 101"""
        client = Client(gateway.port, handshake(path, headers))
        self.addCleanup(client.close)
        self.assertEqual(client.status, 101)
        return client

    def ask(self, gateway: Gateway, method: str, path: str, token: str) -> HTTPResponse:
        """:returns: the answer to a request"""
        with closing(HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)) as http:
            http.request(method, path, b"x" if method != "GET" else None, {"Authorization": f"Bearer {SECRETS[token]}"})
            response = http.getresponse()
            response.read()
            return response

    def run_to_its_end(self, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """:returns: what came of a process that is to end by itself"""
        return subprocess.run(
            [*twistd(), *options],
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


class BadSettingTests(ProcessTestCase):
    """A bad value names the setting, what was given and what is allowed, before anything listens; exit status 1."""

    def check_line(self, name: str, given: str, said: str) -> None:
        """What is said is one line with all that it takes to put it right."""
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertRegex(said, rf"\b{name}\b")
        self.assertIn("allowed", said)
        self.assertIn(repr(given), said)

    def check_all(self, cases: list[tuple[str, str, dict[str, str]]]) -> None:
        """Have twistd's plugin make its service for each case, without a process for each.

        :param cases: the setting that is to be named, what was given, the whole environment
        """
        for name, given, environ in cases:
            reactor = MemoryReactorClock()
            options = Options()
            options.parseOptions([])
            ended = self.assertRaises(SystemExit, makeService, options, environ, reactor)
            # A text: written to standard error, with exit status 1.
            self.check_line(name, given, str(ended.code))
            self.assertEqual((reactor.tcpServers, reactor.sslServers, reactor.unixServers), ([], [], []))

    def test_process(self) -> None:
        """The process says it and ends with status 1; nothing has listened."""
        port = free_port()
        with closing(socket.create_server(("127.0.0.1", port))):
            # Had it tried to listen, it would complain of that.
            done = self.run_to_its_end(
                API_URI="localhost/", WS_LISTEN=f"tcp:{port}:interface=127.0.0.1", WS_TIMEOUT="soon"
            )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.check_line("WS_TIMEOUT", "soon", done.stderr)

    def test_api_uri(self) -> None:
        """``API_URI``: required; host and path."""
        bad = ("ftp://x/", "http://", "//x", "a b", "x:99999/")
        self.check_all([("API_URI", value, {"API_URI": value}) for value in bad])
        # What may be a secret in it is not shown.
        hidden = {"http://user@x/": "http://…@x/", "http://x/#f": "http://x/#…"}
        self.check_all([("API_URI", shown, {"API_URI": value}) for value, shown in hidden.items()])

    def test_all_at_once(self) -> None:
        """Everything that is wrong is said, a line for each."""
        done = self.run_to_its_end("--demo", API_URI="x/", WS_TIMEOUT="soon", LOG_LEVEL="LOUD")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        said = [line.split(":")[:2] for line in done.stderr.splitlines()]
        self.assertEqual([name.split()[0] for _, name in said], ["WS_TIMEOUT", "LOG_LEVEL", "API_URI"])

    def test_numbers(self) -> None:
        """Times and sizes are whole numbers within limits."""
        self.check_all(
            [
                (name, value, {"API_URI": "x/", name: value})
                for name, value in (
                    ("WS_TIMEOUT", "-1"),
                    ("WS_TIMEOUT", "30 seconds"),
                    ("API_TIMEOUT", "0"),
                    ("API_MAX_REQUESTS", "0"),
                    ("WS_MAX_MESSAGE", "1.5"),
                    ("WS_MAX_PER_ADDRESS", "-1"),
                    ("TRUST_PROXY", "10.0.0.1"),
                    ("WS_MAX_BUFFER", "200000"),
                    ("DRAIN_TIMEOUT", "1e3"),
                )
            ]
        )

    def test_words(self) -> None:
        """Choices, origins, headers, types."""
        self.check_all(
            [
                (name, value, {"API_URI": "x/", name: value})
                for name, value in (
                    ("WS_COMPRESSION", "yes"),
                    ("LOG_LEVEL", "LOUD"),
                    ("LOG_FORMAT", "xml"),
                    ("WS_ORIGINS", "example.com"),
                    ("FORWARD_HEADERS", "Cookie"),
                    ("FORWARD_HEADERS", "Ws-State"),
                    ("FORWARD_HEADERS", "x_forwarded_for"),
                    ("API_TEXT_TYPE", "text"),
                    ("WS_HOSTNAME", "ws://x"),
                )
            ]
        )

    def test_places(self) -> None:
        """Endpoints and files."""
        self.check_all(
            [
                (name, value, {"API_URI": "x/", "WS_HOSTNAME": "x", name: value})
                for name, value in (
                    ("WS_LISTEN", "8080"),
                    ("WS_LISTEN", "tcp:http:interface=x:y"),
                    ("WS_LISTEN", "ssl:0:privateKey=/nonexistent.pem"),
                    ("WS_LISTEN", "tls:/nonexistent:0"),
                    ("WS_LISTEN", "systemd:domain=INET:index=0"),
                    ("PUSH_LISTEN", "tcp:x"),
                    ("API_CA", "/nonexistent.pem"),
                    ("API_CERT", "/dev/null"),
                )
            ]
        )

    def test_secrets(self) -> None:
        """Neither their values nor what is in the files that hold them is ever shown."""
        self.check_hidden("PUSH_TOKEN", PUSH_TOKEN=SECRETS["token"] + "é")
        path = Path(self.mktemp())
        path.write_text(f"{SECRETS['token'][:15]}\n")
        self.check_hidden("API_SECRET_FILE", API_SECRET_FILE=str(path.absolute()))

    def check_hidden(self, name: str, **settings: str) -> None:
        """The process ends with one line that names the setting, and not its value."""
        done = self.run_to_its_end(API_URI="x/", **settings)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rf"\A{name}\b|\Awsaas: {name}\b")
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertNotIn(SECRETS["token"][:15], done.stdout + done.stderr)

    def check_place(self, name: str, where: str, done: subprocess.CompletedProcess[str]) -> None:
        """A place that cannot be listened at is told in one line, wherever twistd sends it; nothing listened."""
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1, output)
        (line,) = [line for line in output.splitlines() if name in line]
        self.assertRegex(line, rf"{name}: '{re.escape(where)}' cannot be used: .*in use; allowed: ")
        self.assertNotRegex(output, "Traceback")

    def test_port_in_use(self) -> None:
        """A port that is in use: one clear line, exit status 1."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            self.check_place("WS_LISTEN", where, self.run_to_its_end(API_URI="localhost/", WS_LISTEN=where))

    def test_second_port_in_use(self) -> None:
        """The same for a second place, though the first one was free."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            free = f"tcp:{free_port()}:interface=127.0.0.1"
            settings = {"API_URI": "localhost/", "WS_LISTEN": free, "PUSH_LISTEN": where}
            self.check_place("PUSH_LISTEN", where, self.run_to_its_end(**settings))


class OptionTests(ProcessTestCase):
    """Each setting is an environment variable and an option of the twistd plugin."""

    def test_unknown(self) -> None:
        """Unknown options and arguments are errors: one line, exit status 1."""
        for option in ("--api-url=x/", "extra"):
            done = self.run_to_its_end(option, API_URI="x/")
            self.assertEqual(done.returncode, 1, done)
            self.assertEqual(len(done.stderr.splitlines()), 1, done)
            self.assertIn(option.lstrip("-").partition("=")[0], done.stderr)

    def test_bad(self) -> None:
        """A bad option is told like a bad variable."""
        done = self.run_to_its_end("--api-uri=x/", "--ws-timeout=soon")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertRegex(done.stderr, r"WS_TIMEOUT.*'soon'.*allowed")

    def test_option_wins(self) -> None:
        """The option wins over the variable."""
        api = self.api()
        gateway = start_gateway(self, f"--api-uri={api.uri}", API_URI=f"127.0.0.1:{free_port()}")
        self.client(gateway)
        api.wait_for("POST")

    def test_version(self) -> None:
        """``--version``: the version, exit status 0."""
        done = self.run_to_its_end("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, f"wsaas {__version__}\n")

    def test_help(self) -> None:
        """``--help``: every option, with its default; exit status 0."""
        done = self.run_to_its_end("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        shown = re.sub(r"\s+", " ", done.stdout)
        for setting in SETTINGS:
            self.assertIn(setting.name if setting.secret else f"--{setting.option}=", shown)
            if setting.default:
                self.assertIn(setting.default, shown)
        self.assertIn("--demo", shown)

    def test_demo_or_api(self) -> None:
        """``--demo`` stands in place of ``API_URI``, not beside it."""
        done = self.run_to_its_end("--demo", API_URI="x/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("API_URI", done.stderr)


class CheckTests(ProcessTestCase):
    """``--check``: what a start would say, and no more."""

    def test_fine(self) -> None:
        """Exit status 0, with and without ports, and as a daemon would be started."""
        place = {"API_URI": "localhost/", "WS_LISTEN": f"tcp:{free_port()}:interface=127.0.0.1"}
        for option in ("--check", "--check=files"):
            done = self.run_to_its_end(option, **place)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "wsaas: the settings can be used\n", ""))

    def test_all_that_is_wrong(self) -> None:
        """Settings, files, certificates and ports: exit status 1, a line for each."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            done = self.run_to_its_end(
                "--check",
                WS_LISTEN=f"{where} tls:/nowhere:443",
                API_SECRET_FILE="/nowhere/secret",
                STATE_DIR="/nowhere/state",
            )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        names = [line.removeprefix("wsaas: ").split()[0].strip(":") for line in done.stderr.splitlines()]
        self.assertEqual(names, ["API_URI", "API_SECRET_FILE", "WS_LISTEN", "STATE_DIR", "WS_LISTEN"])

    def test_a_start_says_all_of_it(self) -> None:
        """Without --check, too."""
        done = self.run_to_its_end(WS_LISTEN="tls:/nowhere:443 tls:/elsewhere:444", WS_TIMEOUT="soon", API_URI="x")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        names = [line.removeprefix("wsaas: ").split()[0].strip(":") for line in done.stderr.splitlines()]
        self.assertEqual(names, ["WS_TIMEOUT", "WS_LISTEN", "WS_LISTEN"])

    def test_a_start_says_all_ports(self) -> None:
        """Those that are taken show when it listens."""
        here = ("127.0.0.1", 0)
        with closing(socket.create_server(here)) as one, closing(socket.create_server(here)) as two:
            first, second = (f"tcp:{each.getsockname()[1]}:interface=127.0.0.1" for each in (one, two))
            done = self.run_to_its_end(API_URI="x", WS_LISTEN=first, PUSH_LISTEN=second)
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1)
        self.assertRegex(output, r"WS_LISTEN: .* in use")
        self.assertRegex(output, r"PUSH_LISTEN: .* in use")

    def test_beside_a_gateway_that_runs(self) -> None:
        """Its ports and its folder are taken, which --check=files does not mind."""
        folder = str(Path(self.mktemp()).absolute())
        gateway = start_gateway(self, API_URI="localhost/", STATE_DIR=folder)
        place = {
            "API_URI": "localhost/",
            "STATE_DIR": folder,
            "WS_LISTEN": f"tcp:{gateway.port}:interface=127.0.0.1",
        }
        self.assertEqual(self.run_to_its_end("--check=files", **place).returncode, 0)
        done = self.run_to_its_end("--check", **place)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 2)

    def test_what_is_in_force(self) -> None:
        """``--print-config``: all of it, without secrets."""
        done = self.run_to_its_end("--print-config", "--ws-timeout=45s", API_URI="x/", PUSH_TOKEN=SECRETS["PUSH_TOKEN"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("\nWS_TIMEOUT=45s\n", done.stdout)
        self.assertIn("\nPUSH_TOKEN=…\n", done.stdout)
        self.assertNotIn(SECRETS["PUSH_TOKEN"], done.stdout)


class EndTests(ProcessTestCase):
    """SIGTERM."""

    def test_sigterm(self) -> None:
        """1001 to the clients, DELETE at the API, and the process is gone well before ``DRAIN_TIMEOUT``."""
        api = self.api()
        gateway = start_gateway(self, API_URI=api.uri, DRAIN_TIMEOUT="60000")
        clients = [self.client(gateway) for _ in range(3)]
        gateway.terminate()
        for client in clients:
            self.assertEqual(client.receive(), (CLOSE, close_payload(1001)))
            client.send(frame(CLOSE, close_payload(1001)))
        disconnects = api.wait_for("DELETE", 3)
        self.assertIn(gateway.wait(), (0, -signal.SIGTERM))
        self.assertEqual({headers["Ws-Close-Code"] for headers in disconnects}, {"1001"})
        self.assertEqual({headers["Ws-Closed-By"] for headers in disconnects}, {"shutdown"})
        self.assertNotRegex(gateway.output, "Traceback|ERROR")

    def test_clients_that_do_not_answer(self) -> None:
        """A client that does not answer its Close frame is cut off within ``DRAIN_TIMEOUT``; its DELETE is made."""
        api = self.api()
        gateway = start_gateway(self, API_URI=api.uri, DRAIN_TIMEOUT="400")
        self.client(gateway)
        began = time.monotonic()
        gateway.terminate()
        self.assertEqual(api.wait_for("DELETE")[0]["Ws-Close-Code"], "1001")
        gateway.wait()
        # Without DRAIN_TIMEOUT it would be the 5 s for the answer to a Close.
        self.assertLess(time.monotonic() - began, 5)

    def test_api_that_does_not_answer(self) -> None:
        """An API that does not answer keeps the process no longer than ``DRAIN_TIMEOUT``; the log says what is lost."""
        api = self.api("DELETE")
        gateway = start_gateway(self, API_URI=api.uri, DRAIN_TIMEOUT="400")
        client = self.client(gateway)
        began = time.monotonic()
        gateway.terminate()
        client.receive()
        client.send(frame(CLOSE, close_payload(1001)))
        gateway.wait()
        self.assertGreater(time.monotonic() - began, 0.3)
        self.assertRegex(gateway.output, r"ERROR .*\b1 connection.*DELETE")

    def test_nobody_there(self) -> None:
        """With nobody connected it ends at once."""
        gateway = start_gateway(self, API_URI="x/")
        gateway.terminate()
        self.assertIn(gateway.wait(2), (0, -signal.SIGTERM))


class LogTests(ProcessTestCase):
    """``LOG_LEVEL``, ``LOG_FORMAT``, and what never stands in a log."""

    @contextmanager
    def eventful_life(self, **settings: str) -> Iterator[Gateway]:
        """Run a gateway through everything that it logs, with secrets wherever one may be."""
        api = self.api()
        gateway = start_gateway(
            self,
            API_URI=api.uri,
            API_HEADERS=f"X-Api-Key: {SECRETS['API_HEADERS']}",
            FORWARD_HEADERS="Authorization, Cookie",
            WS_ORIGINS="https://good.example",
            API_SECRET=SECRETS["API_SECRET"],
            PUSH_TOKEN=SECRETS["PUSH_TOKEN"],
            **settings,
        )
        headers = tuple((name, SECRETS[name]) for name in ("Authorization", "Cookie"))
        client = self.client(gateway, f"/chat?token={SECRETS['token']}", headers)
        ws_uri = api.wait_for("POST")[0]["Ws-Uri"]
        self.key = ws_uri.rpartition("/")[2]
        client.send(frame(TEXT, SECRETS["message"].encode()))
        self.assertEqual(client.receive(), (TEXT, SECRETS["reply"].encode()))
        for method, path in (
            ("PUT", f"/{self.key}"),
            ("GET", f"/{self.key}"),
            ("POST", f"/{self.key}"),
            ("PUT", f"/x/{self.key}?token={SECRETS['token']}"),
            ("DELETE", f"/{self.key}?code=1"),
            ("GET", f"/?token={SECRETS['token']}"),
        ):
            self.ask(gateway, method, path, "PUSH_TOKEN")
        self.assertEqual(self.ask(gateway, "PUT", f"/{self.key}", "wrong").status, 401)
        # Who presents a key as a client, and who is refused.
        client.send(frame(CLOSE, struct.pack(">H", 4000) + b"bye"))
        client.receive()
        api.wait_for("DELETE")
        lost = Client(gateway.port, handshake(f"/{self.key}?token={SECRETS['token']}", headers))
        lost.close()
        evil = (("Origin", "https://evil.example"), *headers)
        refused = Client(gateway.port, handshake(f"/{self.key}?token={SECRETS['token']}", evil))
        self.assertEqual(refused.status, 403)
        refused.close()
        api.wait_for("DELETE", 2)
        yield gateway
        gateway.stop()

    def check_secrets(self, output: str) -> None:
        """No key, no token, no query, no header value, no body."""
        for what, secret in [("key", self.key), *SECRETS.items()]:
            self.assertNotIn(secret, output, what)

    def test_text(self) -> None:
        """Lines of time, level, name and event; what is in them of clients' makes no lines of its own."""
        with self.eventful_life() as gateway:
            pass
        line = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO |WARN |ERROR) \S+ .+")
        for text in gateway.output.splitlines():
            self.assertTrue(line.fullmatch(text), text)
        self.assertRegex(gateway.output, r"[\w-]{22} opened: 127\.0\.0\.1 /chat\n")
        self.assertRegex(
            gateway.output, r"[\w-]{22} closed: 4000 by client: 127\.0\.0\.1 /chat, \d\.\d+ s, \d+ in, \d+ out\n"
        )
        self.check_secrets(gateway.output)

    def test_json(self) -> None:
        """``LOG_FORMAT=json``: each line is an object with time, level and message."""
        with self.eventful_life(LOG_FORMAT="json") as gateway:
            pass
        records = [json.loads(line) for line in gateway.output.splitlines()]
        for record in records:
            self.assertRegex(record["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertIn(record["level"], ("DEBUG", "INFO", "WARN", "ERROR"))
            self.assertIsInstance(record["message"], str)
        (closed,) = [record for record in records if "closed: 4000" in record["message"]]
        self.assertEqual((closed["code"], closed["by"], len(closed["tag"])), (4000, "client", 22))
        self.check_secrets(gateway.output)

    def test_debug(self) -> None:
        """At ``DEBUG`` neither keys nor tokens stand there."""
        with self.eventful_life(LOG_LEVEL="DEBUG") as gateway:
            pass
        for what in ("token", "Authorization", "Cookie", "API_HEADERS", "API_SECRET", "PUSH_TOKEN", "wrong"):
            self.assertNotIn(SECRETS[what], gateway.output, what)
        self.assertNotIn(self.key, gateway.output)

    def test_error(self) -> None:
        """At ``ERROR`` a life in which nothing fails leaves no line."""
        api = self.api()
        # Nothing tells in the log when it listens.
        gateway = Gateway(
            twistd(),
            environment(
                API_URI=api.uri,
                LOG_LEVEL="ERROR",
                WS_LISTEN=f"tcp:{(port := free_port())}:interface=127.0.0.1",
                WS_HOSTNAME=f"http://127.0.0.1:{port}",
            ),
            port,
        )
        self.addCleanup(gateway.stop)
        gateway.wait_for_port(port)
        client = self.client(gateway)
        client.send(frame(CLOSE))
        api.wait_for("DELETE")
        gateway.stop()
        self.assertEqual(gateway.output, "")


class WarningTests(ProcessTestCase):
    """One clear warning each at start."""

    def warnings(self, **settings: str) -> list[str]:
        """:returns: the warnings of a gateway that starts"""
        gateway = start_gateway(self, **settings)
        gateway.stop()
        return [line for line in gateway.output.splitlines() if " WARN " in line]

    def test_none(self) -> None:
        """Everything on loopback: none."""
        self.assertEqual(self.warnings(API_URI="localhost:5000/"), [])

    def test_loopback_hostname(self) -> None:
        """A loopback ``WS_HOSTNAME`` with an ``API_URI`` elsewhere."""
        (warning,) = self.warnings(API_URI="api.example/", API_SECRET=SECRETS["API_SECRET"])
        self.assertIn("WS_HOSTNAME", warning)

    def test_no_signatures(self) -> None:
        """``API_URI`` elsewhere without ``API_SECRET``."""
        (warning,) = self.warnings(API_URI="api.example/", WS_HOSTNAME="gateway.example", TRUST_PROXY="1")
        self.assertIn("API_SECRET", warning)

    def test_seconds_without_a_unit(self) -> None:
        """``WS_TIMEOUT=30`` is 30 ms, which is nearly surely not meant."""
        (warning,) = self.warnings(API_URI="localhost:5000/", WS_TIMEOUT="30s", API_TIMEOUT="30")
        self.assertIn("API_TIMEOUT is 30 milliseconds", warning)

    def test_pushes_from_elsewhere(self) -> None:
        """Pushes reachable from elsewhere."""
        place = {"PUSH_LISTEN": f"tcp:{(port := free_port())}", "WS_HOSTNAME": f"http://localhost:{port}"}
        (warning,) = self.warnings(API_URI="localhost:5000/", **place)
        self.assertIn("PUSH_LISTEN", warning)
        self.assertIn("PUSH_TOKEN", warning)
        self.assertEqual(self.warnings(API_URI="localhost:5000/", PUSH_TOKEN=SECRETS["PUSH_TOKEN"], **place), [])

    def test_a_hostname_that_leads_elsewhere(self) -> None:
        """No endpoint has the port of ``WS_HOSTNAME``."""
        (warning,) = self.warnings(API_URI="localhost:5000/", WS_HOSTNAME=f"http://localhost:{free_port()}")
        self.assertIn("WS_LISTEN has no such port", warning)

    def test_a_hostname_of_its_own(self) -> None:
        """Without ``WS_HOSTNAME``, a ``ws_uri`` leads to the endpoint."""
        api, port = self.api(), free_port()
        place = f"tcp:{port}:interface=127.0.0.1"
        gateway = Gateway(twistd(), environment(API_URI=api.uri, WS_LISTEN=place), port)
        self.addCleanup(gateway.stop)
        gateway.wait_for_port(port)
        self.client(gateway)
        (headers,) = api.wait_for("POST")
        self.assertTrue(headers["Ws-Uri"].startswith(f"http://localhost:{port}/"))
        self.assertEqual(self.ask(gateway, "GET", "/" + headers["Ws-Uri"].rpartition("/")[2], "token").status, 200)
