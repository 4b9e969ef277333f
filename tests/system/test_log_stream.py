"""The log of a real process: rotated in both ways, by logrotate itself, and with a reader that has stopped reading."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import textwrap
import threading
import time
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.gate import handshake_request
from tests.processes import PATIENCE, ROOT, environment, start, twistd
from tests.welcome_api import WelcomeApi

#: The least that Linux gives a pipe: some 17 clients.
PIPE = 4096


class LogCase(SynchronousTestCase):
    """An API, and where a gateway is to be."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o755)
        # logrotate wants it like that, whatever the umask.
        self.folder.chmod(0o755)
        api = WelcomeApi()
        self.addCleanup(api.server_close)
        thread = threading.Thread(target=api.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(api.shutdown)
        self.port = free_port()
        self.environ = environment(
            API_URI=f"127.0.0.1:{api.server_port}/",
            WS_LISTEN=f"tcp:{self.port}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{self.port}",
            DRAIN_TIMEOUT="1000",
        )

    def visit(self, path: str) -> None:
        """Be a client: come, be let in, leave. There are two lines about it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        with client:
            client.sendall(handshake_request(path))
            self.assertEqual(client.recv(65536).split(b"\r\n")[0], b"HTTP/1.1 101 Switching Protocols")

    def wait_for(self, file: Path, text: str) -> None:
        """Wait until a file has a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in (file.read_text() if file.exists() else ""):
            if time.monotonic() > deadline:
                self.fail(f"{text!r} is not in {file}")
            time.sleep(0.01)


class RotationTests(LogCase):
    """``--logfile``."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.folder / "wsaas.log"
        self.old = self.folder / "wsaas.log.1"

    def start(self) -> int:
        """:returns: the process id of a gateway that logs to a file"""
        program, *options = twistd()
        return start(self, [program, f"--logfile={self.log}", *options], self.environ).pid

    def logrotate(self, config: str) -> None:
        """Rotate the file now.

        :raises SkipTest: if there is no logrotate
        """
        found = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
        if found is None:
            raise SkipTest("logrotate is not installed")
        file = self.folder / "logrotate.conf"
        file.write_text(config)
        file.chmod(0o644)
        done = subprocess.run(
            [found, "--force", "--state", self.folder / "state", file],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def documented(self) -> str:
        """:returns: the configuration that the documentation shows, for this file"""
        page = (ROOT / "docs" / "logging.rst").read_text(encoding="utf-8")
        shown = re.search(r"^    /var/log/wsaas.log \{$.*?^    \}$", page, re.MULTILINE | re.DOTALL)
        assert shown is not None
        # It is rotated as who runs the tests.
        config = shown.group().replace(" wsaas adm", "").replace("/var/log/wsaas.log", str(self.log))
        return textwrap.dedent(config).replace("/run/wsaas.pid", str(self.folder / "wsaas.pid")) + "\n"

    def rotated(self) -> None:
        """Check that nothing is lost, and nothing is where it should not be."""
        self.visit("/after")
        self.wait_for(self.log, "/after, ")
        self.assertIn("/before", self.old.read_text())
        self.assertNotIn("/after", self.old.read_text())
        new = self.log.read_bytes()
        self.assertNotIn(b"/before", new)
        self.assertRegex(new, rb"\A\d{4}-\d\d-\d\dT")
        self.assertNotIn(b"\0", new)

    def test_copytruncate(self) -> None:
        """It is copied, and cut while the gateway writes to it."""
        self.start()
        self.visit("/before")
        self.wait_for(self.log, "/before, ")
        config = self.documented().replace("create 0640", "copytruncate")
        self.logrotate(re.sub(r"postrotate.*endscript", "", config, flags=re.DOTALL))
        self.rotated()

    def test_renamed(self) -> None:
        """And made anew, before SIGUSR1."""
        pid = self.start()
        self.visit("/before")
        self.wait_for(self.log, "/before, ")
        (self.folder / "wsaas.pid").write_text(f"{pid}\n")
        self.logrotate(self.documented())
        self.rotated()
        self.assertEqual(self.log.stat().st_mode & 0o777, 0o640)

    def test_renamed_by_hand(self) -> None:
        """Again and again, under a daemon that has changed its folder, forked, and set its umask since it opened it."""
        program, *options = [each for each in twistd() if each not in ("--nodaemon", "--pidfile=")]
        pidfile = self.folder / "wsaas.pid"
        argv = [program, f"--logfile={self.log.name}", f"--pidfile={pidfile}", "--rundir=/", *options]
        self.addCleanup(self.end, pidfile)
        self.assertEqual(start(self, argv, self.environ, cwd=self.folder).wait(), 0)
        pid = int(pidfile.read_text())
        for _ in range(3):
            self.visit("/before")
            self.wait_for(self.log, "/before, ")
            mode = self.log.stat().st_mode
            self.log.rename(self.old)
            os.kill(pid, signal.SIGUSR1)
            deadline = time.monotonic() + PATIENCE
            while not self.log.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            self.rotated()
            self.assertEqual(self.log.stat().st_mode, mode)
            self.log.unlink()
            self.log.touch(mode & 0o777)
            os.kill(pid, signal.SIGUSR1)
        self.end(pidfile)
        self.assertIn("Server Shut Down.", self.log.read_text())

    def test_renamed_during_the_start(self) -> None:
        """SIGUSR1 comes as soon as there is a pid file, before the reactor runs: it ends nothing, and is not lost."""
        program, *options = [each for each in twistd() if each != "--pidfile="]
        pidfile = self.folder / "wsaas.pid"
        gateway = start(self, [program, f"--logfile={self.log}", f"--pidfile={pidfile}", *options], self.environ)
        deadline = time.monotonic() + PATIENCE
        while not pidfile.exists() and time.monotonic() < deadline:
            time.sleep(0.0001)
        self.log.rename(self.old)
        os.kill(gateway.pid, signal.SIGUSR1)
        self.visit("/after")
        self.wait_for(self.log, "/after, ")

    def end(self, pidfile: Path) -> None:
        """End a daemon, which removes the file."""
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while pidfile.exists():
            if time.monotonic() > deadline:
                os.kill(int(pidfile.read_text()), signal.SIGKILL)
                pidfile.unlink()
                self.fail("the daemon does not end")
            time.sleep(0.01)


class StandardOutputTests(LogCase):
    """Nobody reads it."""

    def setUp(self) -> None:
        super().setUp()
        self.reads, writes = os.pipe()
        fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE)
        self.gateway = subprocess.Popen(
            twistd(), env=self.environ, stdin=subprocess.DEVNULL, stdout=writes, stderr=subprocess.DEVNULL
        )
        os.close(writes)
        self.addCleanup(os.close, self.reads)
        self.addCleanup(self.gateway.wait)
        self.addCleanup(self.gateway.kill)

    def read(self) -> str:
        """:returns: all that it wrote, to the end"""
        data = b""
        while more := os.read(self.reads, 65536):
            data += more
        return data.decode()

    def test_everybody_is_served(self) -> None:
        """Long after the pipe is full; and once somebody reads, nothing is missing."""
        for number in range(100):
            self.visit(f"/{number}")
        # Which is no reason to end, either: here it opens nothing anew.
        self.gateway.send_signal(signal.SIGUSR1)
        self.visit("/100")
        self.gateway.terminate()
        text = self.read()
        self.assertEqual(re.findall(r"opened: 127\.0\.0\.1 /(\d+)\n", text), [str(number) for number in range(101)])
        self.assertEqual(text.count(" closed: "), 101)
        self.assertIn("Received SIGTERM", text)
        self.assertTrue(text.endswith("Server Shut Down.\n"), text[-200:])

    def test_the_end_waits_a_second(self) -> None:
        """No longer, and less than that for each further line."""
        for number in range(40):
            self.visit(f"/{number}")
        started = time.monotonic()
        self.gateway.terminate()
        self.gateway.wait(PATIENCE)
        self.assertLess(time.monotonic() - started, 5.0)
        self.assertLess(len(self.read()), PIPE + 1024)
