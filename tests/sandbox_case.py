"""Tests of the gateway, and of what it must not be able to do, within the sandbox of its unit."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench.ports import free_port
from tests.gate import TEXT, frame, handshake_request, http_request
from tests.ledger_api import LedgerApi
from tests.processes import PATIENCE, ROOT, Program, ProgramError, environment, start
from tests.sandbox import REFUSED, Plan
from tests.service_unit import Service

UNIT = (ROOT / "systemd/wsaas.service").read_text()

#: An account of those that systemd takes for DynamicUser=; another run of the tests beside this one has another.
USER = 61_184 + os.getpid() % 4_000
_OTHERS = 0o005


def low_port() -> int:
    """:returns: a port of loopback that takes CAP_NET_BIND_SERVICE; for another user than root, any"""
    if os.geteuid():
        return free_port()
    for port in range(1023, 511, -1):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")


class Systemd:
    """What the service says to systemd.

    :param folder: for the socket, ``notify``
    """

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(folder / "notify"))
        (folder / "notify").chmod(0o777)
        #: Each line that came, with the number of the process that wrote it.
        self.lines: list[tuple[int, str]] = []

    def wait_for(self, line: str) -> int:
        """Wait until a line comes that did not come before.

        :returns: the number of the process that wrote it
        :raises AssertionError: if it does not
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data, ancillary, _, _ = self._socket.recvmsg(4096, 64)
            except TimeoutError:
                raise AssertionError(f"waited in vain for {line}: {self.lines}") from None
            pid: int = struct.unpack("iii", ancillary[0][2])[0]
            came = [(pid, one) for one in data.decode().splitlines()]
            self.lines += came
            if (pid, line) in came:
                return pid

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


class SandboxCase(SynchronousTestCase):
    """A machine on which the service is installed."""

    def setUp(self) -> None:
        """Make the folders that systemd would."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd is not installed")
        try:
            ctypes.CDLL("libseccomp.so.2")
        except OSError:
            raise SkipTest("libseccomp is not installed") from None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state, self.credentials, self.run_folder = (Path(folder.name, name) for name in ("lib", "secrets", "run"))
        for path in (self.state, self.credentials, self.run_folder):
            path.mkdir()
            path.chmod(0o755)
        self.user = USER if os.geteuid() == 0 else os.geteuid()
        os.chown(self.state, self.user, -1)
        for seen in (Path(sys.prefix), ROOT / "wsaas"):
            if self.user != os.geteuid() and seen.stat().st_mode & _OTHERS != _OTHERS:
                raise SkipTest(f"{seen} is closed to other accounts, of which the service is one")
        self.systemd = Systemd(self.run_folder)
        self.addCleanup(self.systemd.close)

    def credential(self, name: str, content: bytes | str) -> str:
        """Give the service a secret, or another one in its place, as a file that nobody else can read.

        :returns: its path for the service
        """
        path = self.credentials / f".{name}"
        path.touch(mode=0o600)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o400)
        os.chown(path, self.user, -1)
        path.replace(self.credentials / name)
        return f"/run/credentials/wsaas.service/{name}"

    def plan(self, argv: Sequence[str], texts: Sequence[str], settings: Mapping[str, str] | None = None) -> list[str]:
        """:returns: the command that runs a program in the sandbox; without ``argv``, the gateway"""
        folders = {f"/opt/checkout/{name}": str(ROOT / name) for name in ("wsaas", "twisted")}
        return Plan(
            texts=texts,
            argv=argv,
            environment={"PYTHONPATH": "/opt/checkout", "PYTHONUNBUFFERED": "1", **(settings or {})},
            user=self.user,
            state=str(self.state),
            credentials=str(self.credentials),
            manager=str(self.run_folder),
            folders={"/opt/wsaas": sys.prefix, **folders},
        ).command(self.state.parent / "plan.json")

    def run_in_sandbox(self, argv: Sequence[str], *texts: str, settings: Mapping[str, str] | None = None) -> str:
        """Run a program to its end.

        :param texts: the unit, if it is not ours as it is
        :param settings: what it finds in its environment
        :returns: what it wrote
        """
        ended = subprocess.run(
            self.plan(argv, texts or [UNIT], settings),
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if REFUSED in ended.stdout:
            raise SkipTest(ended.stdout.strip())
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout

    def probe(self, code: str, *texts: str) -> Any:
        """:returns: the JSON that a piece of Python writes in the sandbox"""
        return json.loads(self.run_in_sandbox(["/opt/wsaas/bin/python", "-c", code], *texts))

    def start_gateway(self, *drop_ins: str, line: str = r"\blistening\b", **settings: str) -> Program:
        """Start the service, and wait for a line of its log."""
        return self.started(start(self, self.plan([], [UNIT, *drop_ins], settings), environment(), ROOT), line)

    def activate(self, listener: socket.socket, *drop_ins: str, **settings: str) -> Program:
        """Start the service as ``wsaas.socket`` does."""
        settings |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "wsaas", "LISTENER": str(listener.fileno())}
        plan = self.plan([], [UNIT, *drop_ins], settings)
        return self.started(start(self, plan, environment(), ROOT, [listener.fileno()]), r"\blistening\b")

    def started(self, gateway: Program, line: str) -> Program:
        """Wait for a line of its log and, if it listens, until systemd knows, too."""
        try:
            found = gateway.wait_for_line(line)
        except ProgramError:
            if REFUSED in gateway.output:
                raise SkipTest(gateway.output.strip()) from None
            raise
        if "listening" not in found[0]:
            return gateway
        self.assertEqual(self.systemd.wait_for("READY=1"), gateway.pid)
        return gateway

    def reload(self, gateway: Program, settings: Mapping[str, str]) -> None:
        """``systemctl reload``, which runs under the same restrictions.

        :param settings: of the gateway, which are checked first
        """
        check, *commands = Service(UNIT).lines("ExecReload")
        self.check(check, settings)
        for line in commands:
            command = line.replace("$MAINPID", str(gateway.pid)).split()
            if not Path(command[0]).exists():
                raise SkipTest(f"{command[0]} is not installed")
            self.assertEqual(self.run_in_sandbox(command), "")

    def check(self, line: str, settings: Mapping[str, str]) -> None:
        """Run a command that checks the settings in the sandbox; it has nothing to complain of."""
        said = self.run_in_sandbox(["/opt/wsaas/bin/python", *line.split()], settings=settings)
        self.assertEqual(said, "wsaas: the settings can be used\n")


class Client:
    """A WebSocket client.

    :param connected: a socket, TLS included
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        connected.settimeout(PATIENCE)
        connected.sendall(handshake_request())
        self.expect(b"HTTP/1.1 101 ")
        self.expect(b"\r\n\r\n")

    def expect(self, data: bytes) -> None:
        """Read until something comes.

        :raises AssertionError: if the connection ends before
        """
        received = b""
        while data not in received:
            more = self._socket.recv(1)
            if not more:
                raise AssertionError(f"{data!r} did not come, but {received!r}")
            received += more

    def echo(self) -> None:
        """Send a message and get it back."""
        self._socket.sendall(frame(TEXT, b"hello"))
        self.expect(b"\x81\x05hello")


class ServiceCase(SandboxCase):
    """The service, an API, and clients."""

    def setUp(self) -> None:
        """Start the API."""
        super().setUp()
        self.api = LedgerApi(self)
        self.api.echoes = True
        self.port = free_port()

    def settings(self, **more: str) -> dict[str, str]:
        """:returns: what stands in ``wsaas.env``"""
        return {
            # A name takes a resolver, and that a thread.
            "API_URI": f"http://localhost:{self.api.port}/hook",
            "WS_HOSTNAME": f"http://127.0.0.1:{self.port}",
            "WS_LISTEN": f"tcp:{self.port}:interface=127.0.0.1",
            "DRAIN_TIMEOUT": "1000",
            **more,
        }

    def connect(self, port: int = 0) -> socket.socket:
        """:returns: a connection"""
        connected = socket.create_connection(("127.0.0.1", port or self.port), PATIENCE)
        self.addCleanup(connected.close)
        return connected

    def push(self, payload: bytes, *headers: tuple[str, str]) -> bytes:
        """Push to the connection that came last.

        :returns: the head of the answer
        """
        path = "/" + self.api.of("POST")[-1].headers["ws-uri"].rpartition("/")[2]
        connection = self.connect()
        connection.sendall(http_request("PUT", path, payload, *headers))
        return connection.recv(4096)

    def gone(self, count: int) -> None:
        """Wait until so many connections got their DELETE."""
        self.api.wait_until(lambda: len(self.api.of("DELETE")) >= count, f"{count} DELETEs")
