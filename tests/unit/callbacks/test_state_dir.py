"""The folder of ``STATE_DIR``: who may enter it, and that it has one user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsaas.callbacks.state_dir import StateDir
from wsaas.errors import SettingsError


class StateDirTests(SynchronousTestCase):
    """Folders that can be used, and others."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def open(self, path: Path | None = None) -> StateDir:
        """:returns: a folder that is in use until the end of the test"""
        folder = StateDir(path or self.path)
        folder.open()
        self.addCleanup(folder.close)
        return folder

    def refused(self, path: Path | None = None) -> str:
        """:returns: what is said of a folder that cannot be used, in one line that names setting and folder"""
        error = self.assertRaises(SettingsError, StateDir(path or self.path).open)
        self.assertEqual((error.name, error.given), ("STATE_DIR", str(path or self.path)))
        self.assertNotIn("\n", str(error))
        return str(error)

    def mode(self, path: Path) -> int:
        """:returns: who may do what with it"""
        return stat.S_IMODE(path.stat().st_mode)

    def test_it_is_made(self) -> None:
        """For its account only, whatever the umask."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        folder = self.open()
        self.assertEqual(self.mode(self.path), 0o700)
        self.assertEqual(self.mode(self.path / "lock"), 0o600)
        self.assertEqual(folder.journal.parent, self.path)

    def test_it_may_be_there(self) -> None:
        """As systemd makes it."""
        self.path.mkdir(mode=0o700)
        self.open()

    def test_others_may_not_enter(self) -> None:
        """A reader of a ``ws_uri`` can push to it. Nothing is changed: it may be any folder."""
        self.path.mkdir()
        for mode in (0o755, 0o710, 0o701):
            self.path.chmod(mode)
            self.assertIn("chmod 700", said := self.refused())
            self.assertIn(f"with mode {mode:o};", said)
            self.assertEqual(self.mode(self.path), mode)
            self.assertEqual(list(self.path.iterdir()), [])

    def test_it_belongs_to_the_account(self) -> None:
        """Otherwise another account could move the files away."""
        self.path.mkdir(mode=0o700)
        self.patch(os, "geteuid", lambda: self.path.stat().st_uid + 1)
        self.assertIn("belongs to the account", self.refused())

    def test_what_is_no_folder(self) -> None:
        """A file; a folder in one that is not there."""
        self.path.write_text("")
        self.assertIn("it exists and is not a folder", self.refused())
        self.assertIn("its parent, /nowhere, does not exist", self.refused(Path("/nowhere/state")))
        self.assertIn("it cannot be made in /proc: ", self.refused(Path("/proc/x")))

    def test_a_folder_that_cannot_be_written_to(self) -> None:
        """As with a read-only file system; here, the one folder in which not even root can make a file."""
        self.path = Path("/proc/self/fd")
        self.assertIn("can be written", self.refused())

    def test_a_lock_that_is_no_file(self) -> None:
        """Nor a link to another account's."""
        self.path.mkdir(mode=0o700)
        (self.path / "lock").symlink_to("/dev/null")
        self.assertIn("can be written", self.refused())

    def test_the_second_user_is_refused(self) -> None:
        """And told who the first is; once that is gone, the next may come."""
        first = self.open()
        self.assertIn(f"process {os.getpid()} uses", self.refused())
        self.assertIn(f"process {os.getpid()} uses", self.refused())
        first.close()
        self.open()

    def test_a_full_disk(self) -> None:
        """The lock holds all the same; who has it is just not said."""

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "write", full)
        self.open()
        self.assertIn("process unknown uses", self.refused())
