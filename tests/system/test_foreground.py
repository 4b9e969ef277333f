"""The command of the README in a container and beside itself: in the foreground, killed, started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.processes import Program, environment, start

_COMMAND = (Path(sysconfig.get_path("scripts"), "twistd"), "-n", "wsaas", "--demo")
#: Runs a program as PID 1 of a PID namespace of its own, as a container does.
_AS_PID_1 = ("unshare", "--pid", "--fork", "--kill-child")


def _has_namespaces() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([*_AS_PID_1, "true"], check=False).returncode == 0


class ForegroundTests(SynchronousTestCase):
    """``twistd -n wsaas``, in a folder that stays."""

    def setUp(self) -> None:
        """Make the folder."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, *before: str) -> Program:
        """Start one, and wait until it listens.

        :param before: what runs it
        """
        port = free_port()
        env = environment(WS_LISTEN=f"tcp:{port}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{port}")
        program = start(self, [*before, *_COMMAND], env, self.folder)
        program.wait_for_port(port)
        return program

    def test_killed_and_started_again(self) -> None:
        """Nothing is left behind that somebody would have to be told of."""
        first = self.start()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        self.assertEqual(list(self.folder.iterdir()), [])
        self.assertNotIn("pid", self.start().output.lower())

    def test_two_in_one_folder(self) -> None:
        """Both serve."""
        first, second = self.start(), self.start()
        self.assertEqual((first.returncode, second.returncode), (None, None))

    @skipUnless(os.getuid() == 0 and _has_namespaces(), "needs root and PID namespaces")
    def test_as_pid_1(self) -> None:
        """Each has the PID of the one before."""
        first = self.start(*_AS_PID_1)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        self.assertIsNone(self.start(*_AS_PID_1).returncode)

    def test_a_folder_that_cannot_be_written(self) -> None:
        """It needs none."""
        if os.getuid() == 0:
            # To root nothing is forbidden but what the kernel itself does not do.
            self.folder = Path("/proc")
        else:
            self.folder.chmod(0o500)
        self.start()
