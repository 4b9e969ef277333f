"""
Checkouts of WSAAS: this one, and any other to compare it with.

A checkout is only ever run, in processes of its own. Nothing of it is imported here, so its layout does not matter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.programs import BenchError

PLUGIN = Path("twisted", "plugins", "wsaas_plugin.py")  #: what twistd finds a checkout by
#: Where the package is found, and its version. The name must not be searched in the folder that this runs in.
_ASK = "import wsaas; print(wsaas.__file__); print(wsaas.__version__)"
_TWISTD = "from twisted.scripts.twistd import run; run()"
_ANSWER_LIMIT = 20.0  #: seconds


@dataclass(frozen=True)
class Checkout:
    """
    A checkout, and the interpreter that runs it.

    :param path: its top folder.
    :param python: an interpreter that has what it depends on.
    """

    path: Path
    python: Path = Path(sys.executable)

    def python_path(self) -> str:
        """``PYTHONPATH`` by which its packages are found before all others, installed or not."""
        return os.pathsep.join([str(self.path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)

    def twistd(self) -> list[str | Path]:
        """The command line up to the options of ``twistd wsaas``."""
        return [self.python, "-c", _TWISTD, "--nodaemon", "--pidfile=", "wsaas"]

    def problem(self) -> str | None:
        """Why it cannot be run, or None."""
        if not (self.path / PLUGIN).is_file():
            return f"it has no {PLUGIN}"
        try:
            self._ask()
        except BenchError as problem:
            return str(problem)
        return None

    def version(self) -> str:
        """
        The package's version, and the commit if that is known: two checkouts may well be of one version.

        :raises BenchError: it cannot be run.
        """
        version, commit = self._ask(), self._commit()
        return f"{version}, commit {commit}" if commit else version

    def _ask(self) -> str:
        """
        Have the interpreter import the package.

        :returns: its version.
        :raises BenchError: it does not, or it finds another one.
        """
        try:
            done = subprocess.run(  # nosec B603  # an interpreter that whoever runs the benchmark named
                [self.python, "-c", _ASK],
                cwd=self.path,
                env={**os.environ, "PYTHONPATH": self.python_path()},
                capture_output=True,
                text=True,
                timeout=_ANSWER_LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise BenchError(f"{self.python} does not run: {problem}") from None
        if done.returncode:
            raise BenchError(f"{self.python} cannot import its package: {done.stderr.strip().rpartition(chr(10))[2]}")
        file, version = done.stdout.splitlines()[-2:]
        if not Path(file).resolve().is_relative_to(self.path.resolve()):
            raise BenchError(f"{self.python} finds another wsaas: {file}")
        return version

    def _commit(self) -> str:
        """What Git calls it; empty if it is no work tree of its own, or Git is not installed."""
        if not (self.path / ".git").exists():
            return ""
        try:
            done = subprocess.run(  # nosec B603 B607  # words that stand here
                ["git", "-C", self.path, "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"],
                capture_output=True,
                text=True,
                timeout=_ANSWER_LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip()


HERE = Checkout(Path(__file__).resolve().parent.parent)  #: this one, under this very interpreter
