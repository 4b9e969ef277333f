"""Notifications to systemd: ready, stopping, and the watchdog (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: Seconds between two status notifications, unless the watchdog needs them more often.
_STATUS_EVERY = 10.0
#: While it stops, the process asks for so many seconds more …
_EXTENSION = 15.0
#: … every so many seconds: a stuck event loop does not ask, and is killed.
_EXTEND_EVERY = 5.0


def _address(path: str) -> str | None:
    """:returns: the address of a UNIX socket, where ``@`` begins an abstract name; :data:`None` for other kinds"""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else None


def is_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """:returns: whether what is written there goes to the journal (systemd.exec(5), ``JOURNAL_STREAM``)"""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Read how often the watchdog must be notified (sd_watchdog_enabled(3)).

    :param pid: of this process
    :returns: half of its timeout, in seconds; :data:`None` if there is no watchdog for this process
    """
    watched = environ.get("WATCHDOG_PID", "")
    if watched and watched != str(pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    # Bounded, as int() raises an exception for thousands of digits.
    if not (microseconds.isascii() and microseconds.isdigit() and len(microseconds) <= 20) or not int(microseconds):
        return None
    return int(microseconds) / 2e6


class Notifier:
    """Sends notifications to ``NOTIFY_SOCKET``; does nothing without it.

    It never blocks: a notification that the socket does not take is lost, and the next one follows.

    :param reactor: for timers; if it is stuck, they stop, which the watchdog notices
    :param environ: with ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``
    :param status: gives one line for ``systemctl status``
    :param pid: of this process
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, environ: Mapping[str, str], status: Callable[[], str], pid: int | None = None
    ) -> None:
        self._reactor = reactor
        self._status = status
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = watchdog_interval(environ, os.getpid() if pid is None else pid)
        self._socket: socket.socket | None = None
        self._failed = False
        self._beats = LoopingCall(self._beat)
        self._extensions = LoopingCall(self._extend)
        self._beats.clock = self._extensions.clock = reactor

    def ready(self) -> None:
        """Notify that the service is ready."""
        if self._address is None or self._beats.running:
            return
        self._send(f"READY=1\nSTATUS={self._status()}")
        self._beats.start(_STATUS_EVERY if self._watchdog is None else min(self._watchdog, _STATUS_EVERY), now=False)

    def stopping(self) -> None:
        """Notify that the service stops, and keep extending the time for that."""
        if self._address is None or self._extensions.running:
            return
        self._send("STOPPING=1")
        self._extensions.start(_EXTEND_EVERY)

    def stop(self) -> None:
        """Stop the notifications."""
        for call in (self._beats, self._extensions):
            if call.running:
                call.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _beat(self) -> None:
        self._send(f"STATUS={self._status()}" + ("" if self._watchdog is None else "\nWATCHDOG=1"))

    def _extend(self) -> None:
        self._send(f"EXTEND_TIMEOUT_USEC={int(_EXTENSION * 1e6)}\nSTATUS={self._status()}")

    def _send(self, note: str) -> None:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(note.encode("utf-8"), self._address or "")
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warn("systemd is not told about this process: {error} (NOTIFY_SOCKET)", error=error)
