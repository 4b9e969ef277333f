"""SIGTERM and SIGINT: the first one ends the process in an orderly way, the next one hurries it.

SIGHUP: certificates are read anew. SIGUSR1: the log file is opened anew.

Twisted installs a callable for each of them that stops the reactor, once; a second call would only log a traceback,
since a reactor that stops cannot be stopped again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What signals to a process do.

    :param reactor: whose signals they are; it must run when they are installed
    :param is_stopping: whether the end has begun, by a signal or otherwise
    :param hurry: called in the reactor's turn for each signal that comes when it has
    :param reload: called in the reactor's turn for each SIGHUP
    :param reopen: called in the reactor's turn for each SIGUSR1
    :param ends_with_terminal: whether SIGHUP is left as it is in a process that has a terminal, which sends it when it
        is closed
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
        """Stand in front of whatever is installed. What is ignored or left to the kernel stays so."""
        for number in _ENDING:
            installed = signal.getsignal(number)
            if callable(installed):
                self._first[number] = installed
                signal.signal(number, self._caught)
        if not (self._ends_with_terminal and os.isatty(0)):
            # Also where it is ignored, as with nohup: that is for terminals, too.
            self._install(signal.SIGHUP, self._hung_up)
        # Also where there is no file: who rotates logs may not know, and it would end the process.
        self._install(signal.SIGUSR1, self._rotated)

    def _install(self, number: int, catch: Callable[[int, FrameType | None], None]) -> None:
        self._first[number] = signal.signal(number, catch) or signal.SIG_DFL

    def uninstall(self) -> None:
        """Put back what was installed before."""
        for number, installed in self._first.items():
            signal.signal(number, installed)
        self._first = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        # The service hears of the first one in a later turn of the reactor only; so the first is remembered here.
        if self._came or self._is_stopping():
            self._reactor.callFromThread(self._hurry)
        else:
            self._came = True
            self._first[number](number, frame)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the arguments of all of them
        self._reactor.callFromThread(self._reload)

    def _rotated(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the arguments of all of them
        self._reactor.callFromThread(self._reopen)
