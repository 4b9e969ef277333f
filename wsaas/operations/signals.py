"""Signals: the first SIGTERM or SIGINT stops the process in good order, the next one hurries it; SIGHUP reloads.

SIGUSR1 opens the log file again.

Twisted installs a callable for SIGTERM and SIGINT that stops the reactor. A second call would only log a traceback, as
a reactor that is stopping cannot be stopped again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Handles the signals of the process.

    :param reactor: must run when all of the handlers are installed
    :param is_stopping: tells whether the process is stopping, because of a signal or otherwise
    :param hurry: called in the reactor's thread for each further SIGTERM or SIGINT
    :param reload: called in the reactor's thread for each SIGHUP
    :param reopen: called in the reactor's thread for each SIGUSR1
    :param ends_with_terminal: leave SIGHUP alone if the process has a terminal, which sends it when it is closed
    """

    def __init__(
        self,
        reactor: Any,
        is_stopping: Callable[[], bool],
        hurry: Callable[[], None],
        reload: Callable[[], None],
        reopen: Callable[[], None],
        *,
        ends_with_terminal: bool,
    ) -> None:
        self._reactor = reactor
        self._is_stopping = is_stopping
        self._hurry = hurry
        self._reload = reload
        self._reopen = reopen
        self._ends_with_terminal = ends_with_terminal
        self._first: dict[int, Any] = {}
        self._came = False

    def install(self) -> None:
        """Install the handlers in front of those there are; a signal that is ignored or left to the kernel stays so."""
        for number in _ENDING:
            installed = signal.getsignal(number)
            if callable(installed):
                self._first[number] = installed
                signal.signal(number, self._caught)
        if not (self._ends_with_terminal and os.isatty(0)):
            # Even if SIGHUP is ignored, as under nohup: that, too, is about terminals.
            self._install(signal.SIGHUP, self._hung_up)
        self.install_first()

    def install_first(self) -> None:
        """Install what does not need a reactor that runs: SIGUSR1 would end the process, with a log file or without.

        What it asks for is done in the reactor's first turn.
        """
        self._install(signal.SIGUSR1, self._rotated)

    def _install(self, number: int, catch: Callable[[int, FrameType | None], None]) -> None:
        if number not in self._first:
            self._first[number] = signal.signal(number, catch) or signal.SIG_DFL

    def uninstall(self) -> None:
        """Restore the previous handlers."""
        for number, installed in self._first.items():
            signal.signal(number, installed)
        self._first = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        # The service stops only in a later turn of the reactor, so is_stopping() is not enough.
        if self._came or self._is_stopping():
            self._reactor.callFromThread(self._hurry)
        else:
            self._came = True
            self._first[number](number, frame)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of signal handlers
        self._reactor.callFromThread(self._reload)

    def _rotated(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the arguments of all of them
        self._reactor.callFromThread(self._reopen)
