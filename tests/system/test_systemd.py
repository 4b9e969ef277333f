"""The unit files: that systemd understands them, that they fit the settings; and taking over a socket."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from configparser import RawConfigParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.deploy import DEPLOY, drop_ins
from tests.processes import ROOT, Program, environment, start, twistd
from wsaas.errors import SettingsError
from wsaas.settings.read import read_settings
from wsaas.settings.table import SETTINGS

try:
    from websockets.sync.client import connect
except ImportError:
    HAVE_WEBSOCKETS = False
else:
    HAVE_WEBSOCKETS = True

UNITS = ROOT / "systemd"
SERVICE = UNITS / "wsaas.service"
SOCKET = UNITS / "wsaas.socket"
ENVIRONMENT = UNITS / "wsaas.env"

PATIENCE = 15.0  #: seconds for one answer to arrive

# What systemd does between fork and exec: descriptors from 3 on, and variables that name them and the process.
ACTIVATE = """
import os, sys
descriptor, name, *argv = sys.argv[1:]
if int(descriptor) != 3:
    os.dup2(int(descriptor), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=name)
os.execv(argv[0], argv)
"""


def read_unit(path: Path) -> RawConfigParser:
    """:returns: the sections of a unit file; of a key that comes twice, the last value"""
    unit = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep upper case
    unit.read_string(path.read_text())
    return unit


def read_environment(text: str) -> list[tuple[str, str]]:
    """Read assignments as systemd does, as far as our file uses its syntax (systemd.exec(5), EnvironmentFile=).

    :returns: names and values, in their order.
    """
    assignment = re.compile(r"^([A-Z_]+)=(?:'([^']*)'|(.*))$", re.MULTILINE)
    return [
        (found[1], found[2] if found[2] is not None else found[3].strip())
        for found in assignment.finditer(re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE))
    ]


def uncommented(text: str) -> str:
    """:returns: the file with each example of an assignment in effect; prose stays a comment"""
    example = re.compile(r"^#(?=[A-Z][A-Z_]+=)|(?<='\n)#|^#(?=[A-Z][\w-]*: [^\n]*'$)", re.MULTILINE)
    return example.sub("", text)


class UnitTests(SynchronousTestCase):
    """``wsaas.service`` and ``wsaas.socket``."""

    def test_verify(self) -> None:
        """``systemd-analyze verify`` has nothing to say about them."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            raise SkipTest("systemd-analyze is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for unit in (SERVICE, SOCKET):
            # It looks for the program, which is not installed at that place here.
            text = unit.read_text().replace("/opt/wsaas/bin/twistd", str(twistd()[0]))
            Path(folder.name, unit.name).write_text(text)
        checked = subprocess.run(
            [analyze, "verify", "--man=no", *(str(Path(folder.name, unit.name)) for unit in (SERVICE, SOCKET))],
            capture_output=True,
            text=True,
            check=False,
        )
        complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if "wsaas" in line]
        self.assertEqual((checked.returncode, complaints), (0, []))

    def test_command(self) -> None:
        """The service runs the plugin as the tests do, with the settings of the file that comes with it."""
        service = read_unit(SERVICE)["Service"]
        command = service["ExecStart"].split()
        self.assertEqual(command[0], "/opt/wsaas/bin/twistd")
        self.assertEqual(command[1:], twistd()[1:])
        self.assertEqual(service["EnvironmentFile"], "/etc/wsaas/wsaas.env")

    def test_checks(self) -> None:
        """Before the start everything, before a reload everything but the ports, which the gateway has."""
        lines = SERVICE.read_text().splitlines()
        start = read_unit(SERVICE)["Service"]["ExecStart"]
        self.assertEqual(read_unit(SERVICE)["Service"]["ExecStartPre"], f"{start} --check")
        reload = [line.removeprefix("ExecReload=") for line in lines if line.startswith("ExecReload=")]
        # By the signal upon which the process reads files anew.
        self.assertEqual(reload, [f"{start} --check=files", "/bin/kill -HUP $MAINPID"])
        given = {**dict(read_environment(ENVIRONMENT.read_text())), "WS_LISTEN": "systemd:domain=INET6:name=wsaas"}
        for option in ("--check", "--check=files"):
            command = [*twistd(), option]
            done = subprocess.run(
                command,
                env=environment(**given),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            self.assertEqual((done.returncode, done.stdout), (0, "wsaas: the settings can be used\n"))

    def test_time_to_drain(self) -> None:
        """systemd waits longer for the end than the gateway takes for it by default."""
        (drain,) = (int(setting.default or 0) for setting in SETTINGS if setting.name == "DRAIN_TIMEOUT")
        self.assertGreater(int(read_unit(SERVICE)["Service"]["TimeoutStopSec"]), drain / 1000)

    def test_watched(self) -> None:
        """It tells when it serves, and that it still does; nobody else speaks for it."""
        service = read_unit(SERVICE)["Service"]
        self.assertEqual((service["Type"], service["NotifyAccess"]), ("notify", "main"))
        self.assertGreaterEqual(int(service["WatchdogSec"]), 10)

    def test_exposure(self) -> None:
        """What ``systemd-analyze security`` thinks of it, and of the tighter units in the documentation."""
        tighter = drop_ins()
        for texts, tenths in (([], 14), (tighter[:1], 11), (tighter, 10)):
            self.assertIn(f"{tenths / 10}", DEPLOY)
            self.exposed(tenths, *texts)

    def test_exposure_of_less(self) -> None:
        """The check can fail."""
        self.assertRaises(self.failureException, self.exposed, 14, "[Service]\nPrivateMounts=no")

    def exposed(self, tenths: int, *drop_ins: str) -> None:
        """Check that the service is exposed by no more than that."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            raise SkipTest("systemd-analyze is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        unit = Path(folder.name, SERVICE.name)
        unit.write_text("\n".join([SERVICE.read_text(), *drop_ins]))
        rated = subprocess.run(
            [analyze, "security", "--no-pager", "--offline=true", f"--threshold={tenths}", str(unit)],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(rated.returncode, 0, rated.stdout + rated.stderr)


class EnvironmentTests(SynchronousTestCase):
    """``wsaas.env``."""

    def setUp(self) -> None:
        """Read the file, as it is and with its examples in effect."""
        self.text = ENVIRONMENT.read_text()
        self.examples = read_environment(uncommented(self.text))

    def test_works(self) -> None:
        """As it is, the gateway starts with it."""
        settings = read_settings(dict(read_environment(self.text)))
        self.assertEqual(settings.hostname, "http://localhost:8080")

    def test_names(self) -> None:
        """It names every setting, and every file that one may be in, and none that does not exist."""
        files = {f"{setting.name}_FILE" for setting in SETTINGS if setting.in_file}
        self.assertEqual({name for name, _value in self.examples}, {setting.name for setting in SETTINGS} | files)

    def test_examples(self) -> None:
        """Every example is a value that its setting accepts, the paths of files aside."""
        given = dict(read_environment(self.text))
        for name, value in self.examples:
            if name in ("API_CA", "API_CERT") or name.endswith("_FILE"):
                error = self.assertRaises(SettingsError, read_settings, {**given, name: value})
                self.assertIn("No such file", str(error))
            else:
                read_settings({**given, name: value})

    def test_several_lines(self) -> None:
        """A value of several lines is read as such."""
        headers = dict(read_environment(uncommented(self.text)))["API_HEADERS"]
        self.assertEqual(headers.splitlines(), ["X-Api-Key: change-me", "X-Environment: production"])

    def test_defaults(self) -> None:
        """What a comment shows as the only value of a setting with a default is that default, or an example."""
        shown = dict(self.examples)
        differing = {setting.name for setting in SETTINGS if setting.default and shown[setting.name] != setting.default}
        self.assertEqual(differing, {"WS_ORIGINS"})

    def test_socket(self) -> None:
        """An example of WS_LISTEN takes over the socket of ``wsaas.socket``, by its name."""
        name = read_unit(SOCKET)["Socket"]["FileDescriptorName"]
        self.assertIn(("WS_LISTEN", f"systemd:domain=INET6:name={name}"), self.examples)


class Welcome(BaseHTTPRequestHandler):
    """An API that welcomes everyone and answers each message with its text."""

    def answer(self) -> None:
        """Answer any callback."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = body if self.command == "PUT" else b'{"code": "OK"}'
        self.send_response(200)
        self.send_header("Ws-Reply", "text")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing."""


class SocketActivationTests(SynchronousTestCase):
    """A gateway that is handed its listening socket."""

    def setUp(self) -> None:
        """Start an API."""
        self.api = ThreadingHTTPServer(("127.0.0.1", 0), Welcome)
        thread = threading.Thread(target=self.api.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(self.api.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.api.shutdown)

    def listener(self, host: str = "::ffff:127.0.0.1") -> socket.socket:
        """Listen as ``wsaas.socket`` does, on an IPv6 socket that takes IPv4, but on loopback."""
        if not socket.has_dualstack_ipv6():
            raise SkipTest("no IPv6 here")
        listener = socket.create_server((host, 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.addCleanup(listener.close)
        return listener

    def environment(self, listen: str) -> dict[str, str]:
        """:returns: of the gateway, listening as told and leading to the API"""
        return environment(WS_LISTEN=listen, API_URI=f"127.0.0.1:{self.api.server_port}/")

    def activate(self, listener: socket.socket, listen: str) -> Program:
        """Start the gateway as systemd would, with one descriptor whose name is ``wsaas``."""
        descriptor = listener.fileno()
        shim = [sys.executable, "-c", ACTIVATE, str(descriptor), "wsaas", *twistd()]
        gateway = start(self, shim, self.environment(listen), pass_fds=[descriptor])
        gateway.wait_for_line(r"\blistening\b")
        return gateway

    def echo(self, host: str, port: int) -> None:
        """Connect, send, receive the same, and close."""
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        with connect(f"ws://{host}:{port}/", open_timeout=PATIENCE) as client:
            client.send("hello")
            self.assertEqual(client.recv(timeout=PATIENCE), "hello")

    def test_by_name(self) -> None:
        """The socket is found by its name, and serves clients of both families."""
        for bound, asked in (("::ffff:127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
            listener = self.listener(bound)
            self.activate(listener, "systemd:domain=INET6:name=wsaas")
            self.echo(asked, listener.getsockname()[1])

    def test_by_index(self) -> None:
        """The socket is found by its number, too."""
        listener = self.listener()
        self.activate(listener, "systemd:domain=INET6:index=0")
        self.echo("127.0.0.1", listener.getsockname()[1])

    def test_clients_wait(self) -> None:
        """A client that comes while the gateway is away is served by the next one."""
        listener = self.listener()
        listen = "systemd:domain=INET6:name=wsaas"
        self.activate(listener, listen).stop()
        served = threading.Event()

        def come() -> None:
            self.echo("127.0.0.1", listener.getsockname()[1])
            served.set()

        client = threading.Thread(target=come)
        client.start()
        self.activate(listener, listen)
        client.join(2 * PATIENCE)
        self.assertTrue(served.is_set())

    def test_without_descriptors(self) -> None:
        """Started by hand, without a socket to take over, it says so and ends."""
        for listen in ("systemd:domain=INET6:index=0", "systemd:domain=INET6:name=wsaas"):
            gateway = start(self, twistd(), self.environment(listen))
            self.assertEqual(gateway.wait(), 1)
            self.assertIn("WS_LISTEN", gateway.output)
            self.assertNotIn("Traceback", gateway.output)

    def test_socket_activate(self) -> None:
        """With systemd's own tool: the first client starts the gateway and is served."""
        tool = shutil.which("systemd-socket-activate")
        if tool is None:
            raise SkipTest("systemd-socket-activate is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        settings = self.environment("systemd:domain=INET:name=wsaas")
        # It passes hardly anything of its environment on.
        passed = [f"--setenv={name}={settings[name]}" for name in ("WS_LISTEN", "API_URI", "PYTHONPATH", "PATH")]
        activator = start(self, [tool, f"--listen=127.0.0.1:{port}", "--fdname=wsaas", *passed, *twistd()], settings)
        activator.wait_for_line(r"Listening on")
        self.echo("127.0.0.1", port)
        self.assertIn("listening", activator.output)
