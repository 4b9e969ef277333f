"""Programs that a test runs beside itself: started, waited for, read and ended by their process id.

.. code-block:: python

    api = start(self, [sys.executable, "api.py"], env=environment(PORT=str(port)))
    api.wait_for_port(port)
    gateway = start_gateway(self, API_URI=f"127.0.0.1:{port}")
    with connect(gateway.websocket_url) as client: ...
    self.assertIn("closed", gateway.output)

Everything here blocks, with a deadline; in a test that needs the reactor meanwhile, call it through
:func:`twisted.internet.threads.deferToThread`.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: its ``wsaas`` is what the tests run, installed or not."""

PATIENCE = 20.0
"""Seconds that a program may take to start or to answer before a test fails; generous, as machines of CI are slow."""

_SETTINGS = re.compile(
    r"(API|WS|PUSH|PUBLISH|ADMIN|LOG|FORWARD|DRAIN|TRUST|STATE|LISTEN)_[A-Z_]+|TRACE|NOTIFY_SOCKET|CREDENTIALS_DIRECTORY"
)
"""Variables that would change what a gateway does; none of them is taken over from the environment of the tests."""


class ProgramError(Exception):
    """A program ended early or did not do in time what a test waited for. The message ends with its output."""


class Program:
    """A running program. What it writes, on either stream, is collected while it runs.

    :param argv: what to run.
    :param env: its whole environment; see :func:`environment`.
    :param cwd: its working directory.
    :param pass_fds: descriptors that it inherits under their numbers.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        env: Mapping[str, str],
        cwd: Path | str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._argv = [str(argument) for argument in argv]
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        # A session of its own, so that workers which it forks are ended with it and Ctrl-C reaches trial alone.
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """What it wrote so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for_line(self, pattern: str | re.Pattern[str], timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until a line of the output, past or to come, matches.

        :param pattern: a regular expression, searched for within each line.
        :param timeout: seconds.
        :returns: the first match.
        :raises ProgramError: the program ended without such a line, or time is up.
        """
        deadline = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self._lines)
                if self._ended:
                    raise self._error(f"ended without a line that matches {pattern!r}")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise self._error(f"wrote no line that matches {pattern!r} in {timeout} s")

    def wait_for_port(self, port: int, host: str = "127.0.0.1", timeout: float = PATIENCE) -> None:
        """Wait until the program accepts TCP connections.

        :param timeout: seconds.
        :raises ProgramError: the program ended, or time is up.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                socket.create_connection((host, port), timeout=1).close()
                return
            except OSError as error:
                if self.returncode is not None:
                    raise self._error(f"ended before it listened on {host}:{port}") from error
                if time.monotonic() > deadline:
                    raise self._error(f"does not listen on {host}:{port} after {timeout} s") from error
            # Nothing tells when a foreign program listens: ask again, at once noticing when it ends instead.
            with self._changed:
                self._changed.wait_for(lambda: self._ended, timeout=0.02)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait until the program ends by itself.

        :param timeout: seconds.
        :returns: the exit status, negative for a signal.
        :raises ProgramError: time is up.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._error(f"still runs after {timeout} s") from None
        self._reader.join(1)  # what it wrote last; not for ever, as a child that it left behind may hold the pipe
        return status

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), without waiting. No effect when it has ended."""
        self._process.terminate()

    def stop(self, timeout: float = 15.0) -> int:
        """End it: SIGTERM, then, after a time, SIGKILL to it and to what it forked.

        :param timeout: seconds between the two.
        :returns: the exit status, negative for a signal.
        """
        atexit.unregister(self.stop)
        self._process.terminate()
        try:
            self._process.wait(timeout)
            self._reader.join(1)
        except subprocess.TimeoutExpired:
            pass
        if self._reader.is_alive():  # Somebody of its session still holds the pipe: its id is in use and ours.
            os.killpg(self.pid, signal.SIGKILL)
            self._reader.join()
        return self._process.wait()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _error(self, problem: str) -> ProgramError:
        with self._changed:
            return ProgramError(f"{' '.join(self._argv)} {problem}. It wrote:\n{''.join(self._lines)}")


class Gateway(Program):
    """A running ``twistd wsaas``.

    :param port: the port on which it listens for clients.
    """

    def __init__(self, argv: Sequence[str | Path], env: Mapping[str, str], port: int) -> None:
        super().__init__(argv, env)
        self.port = port

    @property
    def websocket_url(self) -> str:
        """Where clients connect, without a trailing slash."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """Where pushes arrive, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"


def start(
    test: SynchronousTestCase,
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    pass_fds: Sequence[int] = (),
) -> Program:
    """Start a program that ends with the test at the latest.

    :param env: its whole environment; by default :func:`environment`'s.
    """
    program = Program(argv, environment() if env is None else env, cwd, pass_fds)
    test.addCleanup(program.stop)
    return program


def start_gateway(test: SynchronousTestCase, *options: str, **settings: str) -> Gateway:
    """Start the gateway on a port of loopback and wait until it listens there. It ends with the test at the latest.

    :param options: of the twistd plugin: ``--demo``.
    :param settings: environment variables. ``WS_LISTEN`` and ``WS_HOSTNAME`` are made up unless given.
    :raises ProgramError: it does not start.
    """
    port = free_port()
    settings = {
        "WS_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "WS_HOSTNAME": f"http://127.0.0.1:{port}",
        **settings,
    }
    gateway = Gateway([*twistd(), *options], environment(**settings), port)
    test.addCleanup(gateway.stop)
    gateway.wait_for_line(r"\blistening\b")
    gateway.wait_for_port(port)
    return gateway


def twistd() -> list[str | Path]:
    """:returns: the command that runs the gateway in the foreground; options of the plugin may follow."""
    return [Path(sysconfig.get_path("scripts"), "twistd"), "--nodaemon", "--pidfile=", "wsaas"]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a program under test: ours, without what would set up a gateway, plus ``settings``."""
    ours = {name: value for name, value in os.environ.items() if not _SETTINGS.fullmatch(name)}
    path = os.pathsep.join(filter(None, [str(ROOT), ours.get("PYTHONPATH")]))
    return {**ours, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}


def has_ipv6() -> bool:
    """:returns: whether this machine can listen at ::1"""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
