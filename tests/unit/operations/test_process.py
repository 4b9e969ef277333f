"""What the process takes of the machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsaas.operations.process import Process


class ThisProcessTests(SynchronousTestCase):
    """As this machine tells."""

    def test_plausible(self) -> None:
        """A little time, some memory, descriptors that can be listed."""
        process = Process(lambda: 1_700_000_000.0)
        self.assertGreater(process.cpu_seconds(), 0)
        self.assertGreater(process.memory(), 1 << 20)
        self.assertLessEqual(abs(process.descriptors() - len(list(Path("/proc/self/fd").iterdir()))), 2)
        self.assertEqual(process.max_descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.assertEqual(process.started_at, 1_700_000_000.0)


class OtherMachinesTests(SynchronousTestCase):
    """With a ``/proc`` as others have it."""

    def setUp(self) -> None:
        """Make one."""
        self.now = 0.0
        self.proc = Path(self.mktemp())
        (self.proc / "fd").mkdir(parents=True)
        self.process = Process(float, lambda: self.now, self.proc)

    def test_none(self) -> None:
        """Nothing is told, and nothing fails."""
        self.process = Process(float, proc=Path("/nowhere"))
        self.assertEqual((self.process.memory(), self.process.descriptors()), (0, 0))

    def test_memory(self) -> None:
        """In pages; the second number (proc(5))."""
        (self.proc / "statm").write_text("300 20 1 1 0 1 0\n")
        self.assertEqual(self.process.memory(), 20 * resource.getpagesize())
        (self.proc / "statm").write_text("")
        self.assertEqual(self.process.memory(), 0)

    def test_descriptors_that_have_to_be_listed(self) -> None:
        """Once a minute."""
        # What stands for the kernel's folder has a size in most file systems.
        for name in ("0", "1", "2"):
            (self.proc / "fd" / name).touch()
        self.patch(Path, "stat", lambda _: os.stat_result([0] * 10))
        self.assertEqual(self.process.descriptors(), 3)
        (self.proc / "fd" / "3").touch()
        self.now = 59.9
        self.assertEqual(self.process.descriptors(), 3)
        self.now = 60
        self.assertEqual(self.process.descriptors(), 4)
