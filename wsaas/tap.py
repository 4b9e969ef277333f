"""``twistd wsaas``: options and environment in, one service out. Only here is the global reactor imported."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, NoReturn

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized

from wsaas import __version__
from wsaas.assembly import build
from wsaas.check import check
from wsaas.errors import SettingsError
from wsaas.logs import LogSettings, line_form, make_observer
from wsaas.net import reactor as loop
from wsaas.net.descriptors import raise_limit, share_out
from wsaas.net.resolver import Resolver
from wsaas.operations.garbage import settle
from wsaas.operations.log_stream import LogFile, LogStream, StandardStream
from wsaas.operations.signals import Signals
from wsaas.operations.systemd import is_journal
from wsaas.settings.advice import warnings, without_units
from wsaas.settings.names import misnamed, unknown_option
from wsaas.settings.read import Reading, Settings
from wsaas.settings.show import first_line, shown
from wsaas.settings.table import SETTINGS

_log = Logger()
_CHECK_ALL = "--check=all"
_CHECK_HELP = (
    "say all that is wrong with the settings, certificates, files and ports, and exit with status 0 or 1; "
    "--check=files tries no ports, for a gateway that runs"
)
#: What getopt says of an option that does not exist.
_UNKNOWN = re.compile(r"option --(\S+) not recognized")


class Options(usage.Options):
    """The options of the twistd plugin, one for each setting."""

    synopsis = "[options]"
    longdesc = (
        "Every option is also an environment variable: --api-uri is API_URI. The option wins. "
        "Secrets are none: API_SECRET, PUSH_TOKEN and PUBLISH_TOKEN come from the environment, or from files that "
        "API_SECRET_FILE, PUSH_TOKEN_FILE and PUBLISH_TOKEN_FILE name. Times are in milliseconds unless they have a "
        "unit (30s), sizes in bytes. "
        "docs/settings.rst explains each."
    )
    optFlags = [
        ["demo", None, "run an embedded chat API and its page on http://localhost:8080/"],
        ["print-config", None, "print the settings in force, with secrets masked, and exit"],
    ]
    optParameters = [
        [
            setting.option,
            None,
            None,
            setting.summary + (f" [default: {setting.default}]" if setting.default else ""),
        ]
        for setting in SETTINGS
        if not setting.secret
    ]
    optParameters.append(["check", None, None, _CHECK_HELP])

    def opt_version(self) -> None:
        """Display the version and exit."""
        sys.stdout.write(f"wsaas {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *args: str) -> None:
        """Take no arguments."""
        if args:
            # Without what stands behind the sign: it may be a secret that was meant for the environment.
            name = args[0].partition("=")[0]
            if self["check"] and name == "files":
                raise usage.UsageError("--check files is written --check=files")
            raise usage.UsageError(f"unexpected argument {name!r}; every setting is an option, see --help")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; what is wrong with it is said in one line."""
        # getopt knows no option whose value may be missing.
        words = [_CHECK_ALL if word == "--check" else word for word in (sys.argv[1:] if options is None else options)]
        try:
            super().parseOptions(words)
        except usage.UsageError as error:
            unknown = _UNKNOWN.match(str(error))
            of_twistd = getattr(self.parent, "longOpt", ())
            said = (
                str(error) if unknown is None else unknown_option(unknown[1], [each.strip("=") for each in of_twistd])
            )
            sys.exit(f"wsaas: {said}")

    def postOptions(self) -> None:
        """Leave the pid file out in the foreground, unless one was asked for by another name than twistd's default.

        It outlives a kill; it names PID 1 in every container, which is alive in the next one too; and the folder may
        not be writable. ``--pidfile=./twistd.pid`` asks for it all the same.
        """
        if self["check"] not in (None, "all", "files"):
            raise usage.UsageError(f"--check={self['check']} is not an option, but --check and --check=files are")
        twistd = self.parent
        if twistd is None:
            return
        # What only looks leaves the pid file of a gateway that runs alone.
        if self.only_looks or (twistd.get("nodaemon") and twistd.get("pidfile") == "twistd.pid"):
            twistd["pidfile"] = ""

    @property
    def only_looks(self) -> bool:
        """Whether nobody is to be served."""
        return bool(self["check"] or self["print-config"])

    def given(self, environ: Mapping[str, str]) -> dict[str, str]:
        """:returns: the settings that were given, by name; an option wins over the environment"""
        names = {setting.name: setting.option for setting in SETTINGS if not setting.secret}
        values = dict(environ)
        values.update({name: self[option] for name, option in names.items() if self[option] is not None})
        return values


class LoggedService(MultiService):
    """The top service; it sees to it that the process logs as it was told.

    :param observer: gets all events, those buffered since the start included; :data:`None` leaves it to twistd
    :param stream: where the observer writes
    :param settle: called after the start; concerns the whole process
    :param catch: called before the start, when the process is known to be a gateway: before twistd writes its pid file
    """

    def __init__(
        self,
        observer: ILogObserver | None,
        stream: LogStream | None,
        settle: Callable[[], None],
        catch: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._observer = observer
        self._stream = stream
        self._settle = settle
        self._catch = catch

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Become part of an application, which twistd asks for its observer."""
        if isinstance(parent, Componentized):
            self._catch()
            if self._observer is not None:
                parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start everything."""
        super().startService()
        if self._stream is not None:
            self._stream.start()
        self._settle()

    def stopService(self) -> Deferred[object]:
        """Stop everything, the log last: it is waited for, as nobody is served any more."""
        stopped: Deferred[object] = super().stopService()
        return stopped.addBoth(self._finish)

    def _finish(self, result: object) -> object:
        if self._stream is not None:
            self._stream.finish()
        return result


def _stream(options: Options, log: LogSettings, environ: Mapping[str, str]) -> tuple[LogStream | None, LogSettings]:
    """Find out where twistd was told to log.

    :returns: that, and how it is written there; :data:`None` is twistd's own business
    :raises SettingsError: if it cannot be written there
    """
    twistd: Mapping[str, Any] = options.parent or {}
    if twistd.get("syslog"):
        return None, log
    path = twistd.get("logfile")
    if path == "-" or (not path and twistd.get("nodaemon", True)):
        # Who was started without one has none, and may have somebody's socket under its number.
        descriptor = os.open(os.devnull, os.O_WRONLY) if sys.stdout is None else sys.stdout.fileno()
        log = replace(log, priorities=is_journal(environ, descriptor))
        return LogStream(StandardStream(descriptor), line_form(log)), log
    path = path or "twistd.log"
    try:
        return LogStream(LogFile(path), line_form(log)), log
    except OSError as error:
        raise SettingsError("--logfile", path, f"a file that can be written ({error.strerror})") from error


def _settle(reactor: Any, signals: Signals) -> None:
    """Do what concerns the whole process, and is for the time after the start."""
    settle()
    # The reactor installs its own when it begins to run.
    reactor.callWhenRunning(signals.install)
    loop.install(reactor)


def _in_lines(*errors: SettingsError) -> str:
    """:returns: all that is wrong with the settings, a line each"""
    return "\n".join(dict.fromkeys(f"wsaas: {each}" for error in errors for each in error.errors))


def _look(options: Options, reading: Reading, given: Mapping[str, str], reactor: Any) -> NoReturn:
    """Do what ``--check`` and ``--print-config`` ask for, and exit."""
    errors = check(reading, reactor, ports=options["check"] == "all") if options["check"] else reading.errors
    # A UNIX socket's file goes in the next turn.
    reactor.iterate(0)
    if errors:
        sys.exit(_in_lines(*errors))
    settings, open_files = reading.settings(), raise_limit()
    if options["print-config"]:
        room = share_out(open_files, settings.api.max_requests).connections
        sys.stdout.write("".join(f"{line}\n" for line in shown(reading, room)))
    if options["check"]:
        for warning in _warnings(settings, open_files, given):
            sys.stderr.write(f"wsaas: warning: {warning}\n")
        sys.stdout.write("" if options["print-config"] else "wsaas: the settings can be used\n")
    sys.exit(0)


def _warnings(settings: Settings, open_files: int, given: Mapping[str, str]) -> list[str]:
    return warnings(settings, open_files) + without_units(given) + misnamed(given)


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Say in one line why the process does not start; leave other exceptions as they are."""
    if isinstance(error, SettingsError):
        sys.stderr.write(f"{_in_lines(error)}\n")
    else:
        sys.__excepthook__(kind, error, traceback)


def makeService(options: Options, environ: Mapping[str, str] | None = None, reactor: Any = None) -> LoggedService:
    """Make the service that twistd runs.

    :param options: the command line
    :param environ: the environment; the process's own if not given
    :param reactor: the global one if not given
    """
    if reactor is None:
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it
    # Before anything is scheduled.
    loop.use_monotonic_clock(reactor)
    environ = os.environ if environ is None else environ
    given = options.given(environ)
    reading = Reading(given, demo=bool(options["demo"]))
    if options.only_looks:
        _look(options, reading, given, reactor)
    # Before anybody asks it: DELETEs of an earlier life are sent while the service starts.
    reactor.installNameResolver(Resolver(reactor))
    try:
        settings = reading.settings()
        open_files = raise_limit()
        gateway = build(
            settings,
            reactor,
            open_files=open_files,
            environ=environ,
            reread=partial(Reading, given, demo=reading.demo) if reading.files else None,
        )
        stream, log = _stream(options, settings.log, environ)
    except SettingsError as error:
        sys.exit(_in_lines(*check(reading, reactor, ports=False), error))
    # A port that is taken shows only when twistd has the service listen; it removes its pid file and lets the
    # exception go up.
    sys.excepthook = _tell
    ends_with_terminal = not gateway.can_reload
    reopen = (lambda: None) if stream is None else stream.reopen
    signals = Signals(
        reactor, lambda: gateway.stopping, gateway.hurry, gateway.reload, reopen, ends_with_terminal=ends_with_terminal
    )
    observer = None if stream is None else make_observer(log, stream)
    service = LoggedService(observer, stream, partial(_settle, reactor, signals), signals.install_first)
    gateway.setServiceParent(service)
    _log.info("{line}", line=first_line(settings))
    for warning in _warnings(settings, open_files, given):
        # Not warning=…: observers of old take an event with that member for one of Python's warnings.
        _log.warn("{advice}", advice=warning)
    return service
