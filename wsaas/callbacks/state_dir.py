"""``STATE_DIR``: a private folder for what must survive the process, locked by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from wsaas.errors import SettingsError

_LOCK = "lock"
_MADE = "a folder that exists, or that can be made because its parent exists"
_JOURNAL = "journal.sqlite"


class StateDir:
    """The folder, locked from :meth:`open` on.

    :param path: of the folder
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def journal(self) -> Path:
        """The path of the journal."""
        return self._path / _JOURNAL

    def refused(self, allowed: str, why: str = "") -> SettingsError:
        """:returns: an error about the folder

        :param allowed: what would be right
        :param why: what is wrong
        """
        return SettingsError("STATE_DIR", str(self._path), allowed, why)

    def open(self) -> None:
        """Create the folder if it does not exist, and lock it for this process.

        :raises SettingsError: if other accounts could read it, or another process has locked it
        """
        try:
            self._path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self.refused(_MADE, self._why(error)) from error
        self._check_access()
        try:
            self._lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self.refused("a folder that can be written to", error.strerror or str(error)) from error
        self._take(self._lock)

    def _check_access(self) -> None:
        try:
            found = self._path.stat()
        except OSError as error:
            raise self.refused(_MADE, self._why(error)) from error
        # The journal contains ws_uris: its reader could push to clients.
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise self.refused(
                f"a folder that belongs to the account of this process and that only it may enter "
                f"(chown {os.geteuid()}, chmod 700)",
                f"it belongs to account {found.st_uid}, with mode {stat.S_IMODE(found.st_mode):o}",
            )

    def check(self, *, alone: bool) -> None:
        """Check that :meth:`open` would succeed. A folder that does not exist is not left behind.

        :param alone: whether no other process may use it
        :raises SettingsError: if it would not
        """
        if not self._path.exists():
            try:
                self._path.mkdir(mode=0o700)
                self._path.rmdir()
            except OSError as error:
                raise self.refused(_MADE, self._why(error)) from error
        elif alone:
            self.open()
            self.close()
        else:
            self._check_access()

    def _why(self, error: OSError) -> str:
        if isinstance(error, FileExistsError):
            return "it exists and is not a folder"
        if isinstance(error, FileNotFoundError) and not self._path.parent.exists():
            return f"its parent, {self._path.parent}, does not exist: {error.strerror}"
        return f"it cannot be made in {self._path.parent}: {error.strerror}"

    def _take(self, lock: int) -> None:
        try:
            # The kernel drops the lock when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
            self.close()
            raise self.refused("a folder of its own for each process", f"process {owner} uses this one") from error
        try:
            os.ftruncate(lock, 0)
            os.write(lock, b"%d\n" % os.getpid())
        except OSError:
            # A full disk: the number is only for people.
            pass

    def close(self) -> None:
        """Unlock the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
