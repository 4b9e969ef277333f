"""``twistd wsaas``: options, environment, the service they make, and what is said when it cannot be made."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from functools import partial
from io import StringIO
from pathlib import Path
from time import monotonic
from typing import Any, cast

from twisted.application.service import Application, IService, IServiceCollection, MultiService, Service
from twisted.internet import reactor as real_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions  # what twistd makes of its command line
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.memory_machine import Machine
from tests.unit.net.test_transport import Loop
from tests.unit.settings.test_read import UNUSABLE, shown_of
from wsaas import __version__
from wsaas.errors import SettingsError
from wsaas.logs import LogSettings, make_observer
from wsaas.net.resolver import Resolver
from wsaas.operations.service import Gateway
from wsaas.settings.advice import warnings
from wsaas.settings.read import read_settings
from wsaas.settings.table import SETTINGS
from wsaas.tap import LoggedService, Options, makeService

API = {"API_URI": "127.0.0.1:9000/websocket"}


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def stopped(self, *arguments: str) -> tuple[object, str]:
        """:returns: what the process exits with on these arguments, and what it wrote"""
        written = StringIO()
        self.patch(sys, "stdout", written)
        stop = self.assertRaises(SystemExit, Options().parseOptions, list(arguments))
        return stop.code, written.getvalue()

    def test_every_setting_is_an_option(self) -> None:
        """``API_URI`` is ``--api-uri``; what was given is what the table reads."""
        for setting in SETTINGS:
            if setting.secret:
                continue
            options = Options()
            options.parseOptions([f"--{setting.name.lower().replace('_', '-')}", "some value"])
            self.assertEqual(options.given({}), {setting.name: "some value"})

    def test_secrets_are_no_options(self) -> None:
        """All users of the machine see those; the environment and the names of files pass through."""
        self.assertEqual(
            [setting.name for setting in SETTINGS if setting.secret], ["API_SECRET", "PUSH_TOKEN", "PUBLISH_TOKEN"]
        )
        for name in ("api-secret", "push-token", "publish-token", "publish-token-file", "api-headers-file"):
            code, _ = self.stopped(f"--{name}=hunter2")
            assert isinstance(code, str)
            self.assertIn(name, code)
            self.assertNotIn("hunter2", code)
        options = Options()
        options.parseOptions([])
        environ = {"API_SECRET": "x", "PUSH_TOKEN_FILE": "y"}
        self.assertEqual(options.given(environ), environ)

    def test_an_option_wins_over_the_environment(self) -> None:
        """Even if it is empty; what is not given is left to the environment."""
        options = Options()
        options.parseOptions(["--ws-timeout", "5", "--api-ca="])
        given = options.given({"WS_TIMEOUT": "7", "API_TIMEOUT": "9", "API_CA": "x", "HOME": "/"})
        self.assertEqual((given["WS_TIMEOUT"], given["API_TIMEOUT"], given["API_CA"]), ("5", "9", ""))

    def test_the_environment_is_not_changed(self) -> None:
        """It belongs to another program."""
        environ = {"WS_TIMEOUT": "7"}
        options = Options()
        options.parseOptions(["--ws-timeout", "5"])
        options.given(environ)
        self.assertEqual(environ, {"WS_TIMEOUT": "7"})

    def test_help_mentions_every_setting(self) -> None:
        """With its default, and the demo."""
        code, text = self.stopped("--help")
        self.assertFalse(code)
        words = " ".join(text.split())
        for setting in SETTINGS:
            self.assertIn(setting.name if setting.secret else f"--{setting.option}=", words)
            if setting.default:
                self.assertIn(f"[default: {setting.default}]", words)
        self.assertIn("--demo", words)

    def test_version(self) -> None:
        """The gateway's, not Twisted's."""
        self.assertEqual(self.stopped("--version"), (0, f"wsaas {__version__}\n"))

    def test_what_is_no_option(self) -> None:
        """One line that names it, and exit status 1, which is what exiting with a text is."""
        for arguments, named in (
            (["--nonsense"], "nonsense"),
            (["--api-uri"], "api-uri"),
            (["--demo=1"], "demo"),
            (["stray"], "stray"),
            (["--api-secret", "x"], "api-secret"),
        ):
            code, _ = self.stopped(*arguments)
            assert isinstance(code, str)
            self.assertTrue(code.startswith("wsaas: "), code)
            self.assertIn(named, code)
            self.assertNotIn("\n", code)

    def test_near_misses(self) -> None:
        """What is meant is said; of twistd's own options, where they stand."""
        self.assertEqual(self.stopped("--api-url=x/")[0], "wsaas: --api-url is not an option. Did you mean --api-uri?")
        options = ServerOptions()
        stop = self.assertRaises(SystemExit, options.parseOptions, ["wsaas", "--logfile", "x"])
        self.assertEqual(stop.code, "wsaas: --logfile is an option of twistd: it stands before wsaas")


class PidFileTests(SynchronousTestCase):
    """twistd's ``--pidfile``, which the plugin sees before twistd uses it."""

    def pid_file(self, *arguments: str) -> object:
        """:returns: what twistd makes of its options"""
        options = ServerOptions()
        options.parseOptions([*arguments, "wsaas"])
        return options["pidfile"]

    def test_none_in_the_foreground(self) -> None:
        """It would stay after a kill, and name PID 1 in a container."""
        self.assertEqual(self.pid_file("--nodaemon"), "")

    def test_as_asked_for(self) -> None:
        """By any name, twistd's own with a folder before it."""
        here = Path.cwd()
        self.assertEqual(self.pid_file("--nodaemon", "--pidfile=gateway.pid"), str(here / "gateway.pid"))
        self.assertEqual(self.pid_file("--nodaemon", "--pidfile=./twistd.pid"), str(here / "twistd.pid"))
        self.assertEqual(self.pid_file("--nodaemon", "--pidfile="), "")

    def test_a_daemon_has_one(self) -> None:
        """It is how one finds it."""
        self.assertEqual(self.pid_file(), str(Path.cwd() / "twistd.pid"))


class RefusedTests(SynchronousTestCase):
    """What cannot be used is said in one line, before anything listens."""

    def setUp(self) -> None:
        self.patch(sys, "excepthook", sys.excepthook)

    def refused(self, environ: Mapping[str, str], *arguments: str) -> str:
        """:returns: what the process exits with: a text, which makes exit status 1"""
        options, machine = Options(), Machine()
        options.parseOptions(list(arguments))
        stop = self.assertRaises(SystemExit, makeService, options, environ, machine)
        assert isinstance(stop.code, str)
        self.assertNotIn("\n", stop.code)
        self.assertEqual(machine.tcpServers, [])
        return stop.code

    def test_every_setting(self) -> None:
        """From the environment and as an option: name, what was given, what is allowed."""
        for setting in SETTINGS:
            value = UNUSABLE[setting.name]
            environ = {**API, "WS_HOSTNAME": "localhost"}
            said = self.refused({**environ, setting.name: value})
            shown = shown_of(setting)
            self.assertTrue(said.startswith(f"wsaas: {setting.name}: {shown!r} "), said)
            self.assertIn("allowed: ", said)
            if not setting.secret:
                self.assertEqual(self.refused(environ, f"--{setting.option}={value}"), said)

    def test_no_api(self) -> None:
        """Neither ``API_URI`` nor ``--demo``, or both."""
        self.assertTrue(self.refused({}).startswith("wsaas: API_URI is not set (allowed: "))
        said = self.refused({"API_URL": "x/"})
        self.assertTrue(said.startswith("wsaas: API_URI is not set; API_URL is not a setting. Did you mean API_URI?"))
        self.assertTrue(self.refused(API, "--demo").startswith("wsaas: API_URI and --demo exclude each other"))

    def test_all_at_once(self) -> None:
        """A line for each, and exit status 1."""
        options = Options()
        options.parseOptions(["--log-level=LOUD"])
        stop = self.assertRaises(SystemExit, makeService, options, {"WS_TIMEOUT": "soon"}, Machine())
        assert isinstance(stop.code, str)
        names = [line.split()[:2] for line in stop.code.splitlines()]
        self.assertEqual(names, [["wsaas:", "API_URI"], ["wsaas:", "WS_TIMEOUT:"], ["wsaas:", "LOG_LEVEL:"]])

    def test_combinations(self) -> None:
        """Each by itself would do."""
        for environ, name in (
            ({"PUSH_LISTEN": "unix:/x"}, "WS_HOSTNAME is not set"),
            ({"WS_MAX_MESSAGE": "1048576"}, "WS_MAX_BUFFER: "),
            ({"FORWARD_HEADERS": "Cookie"}, "FORWARD_HEADERS: "),
        ):
            self.assertTrue(self.refused({**API, **environ}).startswith(f"wsaas: {name}"), name)

    def test_endpoints_that_can_never_listen(self) -> None:
        """Their text passes; Twisted's parsers or the files they name do not."""
        for name in ("WS_LISTEN", "PUSH_LISTEN", "ADMIN_LISTEN"):
            for place in (
                "tcp:http",
                "ssl:443:privateKey=/nowhere.pem",
                "tls:/nowhere:443",
                "systemd:domain=INET:index=0",
            ):
                said = self.refused({**API, "WS_HOSTNAME": "localhost", name: place})
                self.assertTrue(said.startswith(f"wsaas: {name}: {place!r} "), said)


class LookTests(SynchronousTestCase):
    """``--check`` and ``--print-config``: they say something and exit."""

    def look(self, *arguments: str, **environ: str) -> tuple[object, str, str]:
        """:returns: what the process exits with, and what it wrote to standard output and error"""
        options, out, err = Options(), StringIO(), StringIO()
        options.parseOptions(list(arguments))
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        stop = self.assertRaises(SystemExit, makeService, options, environ, Machine())
        return stop.code, out.getvalue(), err.getvalue()

    def test_fine(self) -> None:
        """Status 0; what a start would warn of is said as well."""
        place = {"WS_LISTEN": "tcp:8080:interface=127.0.0.1"}
        for option in ("--check", "--check=files", "--check=all"):
            self.assertEqual(self.look(option, **API, **place), (0, "wsaas: the settings can be used\n", ""))
        code, _, said = self.look("--check", **API, **place, WS_TIMEOUT="30")
        self.assertEqual(code, 0)
        self.assertTrue(said.startswith("wsaas: warning: WS_TIMEOUT is 30 milliseconds"))

    def test_wrong(self) -> None:
        """Status 1, as a text is; a line for each."""
        for option in ("--check", "--check=files", "--print-config"):
            code, out, _ = self.look(option, WS_TIMEOUT="soon", LOG_LEVEL="LOUD")
            assert isinstance(code, str)
            self.assertEqual([line.split()[1] for line in code.splitlines()], ["API_URI", "WS_TIMEOUT:", "LOG_LEVEL:"])
            self.assertEqual(out, "")

    def test_what_is_in_force(self) -> None:
        """With --check, whether it can be used, too."""
        for options in (["--print-config"], ["--print-config", "--check"]):
            code, out, _ = self.look(*options, "--ws-timeout=45s", **API)
            self.assertEqual(code, 0)
            self.assertIn("\nWS_TIMEOUT=45s\n", out)
            self.assertIn("\n#API_TIMEOUT=30000\n", out)

    def test_other_values(self) -> None:
        """What is written otherwise is said."""
        for words, said in ((["--check=x"], "--check=x is not an option"), (["--check", "files"], "--check=files")):
            stop = self.assertRaises(SystemExit, Options().parseOptions, words)
            self.assertIn(said, str(stop.code))

    def test_beside_a_daemon(self) -> None:
        """Its pid file is left alone."""
        for option in ("--check", "--check=files", "--print-config"):
            options = ServerOptions()
            options.parseOptions(["wsaas", option])
            self.assertEqual(options["pidfile"], "")


class LoggedServiceTests(SynchronousTestCase):
    """The top service."""

    def test_it_gives_the_application_its_observer(self) -> None:
        """twistd asks the application for it."""
        observer = make_observer(LogSettings("INFO", "text"), StringIO())
        application: Any = Application("wsaas")
        LoggedService(observer, None, lambda: None).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)

    def test_the_collector_is_settled_after_the_start(self) -> None:
        """Not before: what the start makes stays."""
        events: list[str] = []
        child = Service()
        child.startService = lambda: events.append("started")  # type: ignore[method-assign]  # tells when
        service = LoggedService(None, None, lambda: events.append("settled"))
        child.setServiceParent(service)
        service.startService()
        self.assertEqual(events, ["started", "settled"])

    def test_the_log_is_written_by_a_thread_while_it_runs(self) -> None:
        """Begun after all that may fail in the start; in the end, it is waited for."""
        done: list[str] = []

        class Stream:
            def start(self) -> None:
                done.append("start")

            def finish(self) -> None:
                done.append("finish")

        child = Service()
        stopped: Deferred[None] = Deferred()
        child.startService = lambda: done.append("started")  # type: ignore[method-assign]  # tells when
        child.stopService = lambda: stopped  # type: ignore[method-assign]  # takes its time
        service = LoggedService(None, cast(Any, Stream()), lambda: done.append("settled"))
        child.setServiceParent(service)
        service.startService()
        self.assertEqual(done, ["started", "start", "settled"])
        service.stopService()
        self.assertEqual(len(done), 3)
        stopped.callback(None)
        self.assertEqual(done[3:], ["finish"])

    def test_without_an_observer_it_is_left_to_twistd(self) -> None:
        """As with --syslog."""
        application: Any = Application("wsaas")
        service = LoggedService(None, None, lambda: None)
        service.setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver))
        self.assertIs(service.parent, IServiceCollection(application))

    def test_under_another_service_it_changes_nothing(self) -> None:
        """Which is not who twistd asks."""
        parent = MultiService()
        service = LoggedService(make_observer(LogSettings("INFO", "text"), StringIO()), None, lambda: None)
        service.setServiceParent(parent)
        self.assertEqual(list(parent), [service])


class MakeServiceTests(TestCase):
    """From options and environment to a service."""

    def setUp(self) -> None:
        self.patch(sys, "excepthook", sys.excepthook)
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        self.addCleanup(cast(Any, real_reactor).installNameResolver, cast(Any, real_reactor).nameResolver)
        # Trial has scheduled things by the clock that it has, so it keeps it, as one of its own.
        self.patch(real_reactor, "seconds", cast(Any, real_reactor).seconds.__call__)
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(
        self,
        environ: Mapping[str, str],
        *arguments: str,
        twistd: Mapping[str, Any] | None = None,
        reactor: Any = None,
    ) -> LoggedService:
        """:returns: the service"""
        options = Options()
        if twistd is not None:
            vars(options)["parent"] = dict(twistd)  # as much of twistd's own options as is read
        options.parseOptions(list(arguments))
        return makeService(options, environ, reactor or Machine())

    def test_a_service_with_the_gateway_in_it(self) -> None:
        """Which starts and stops with it."""
        machine = Machine()
        service = self.make({**API, "WS_LISTEN": "tcp:1"}, reactor=machine)
        verifyObject(IService, service)
        (gateway,) = service
        self.assertIsInstance(gateway, Gateway)
        service.privilegedStartService()
        self.assertEqual(machine.places(), {("", 1)})
        service.startService()
        self.successResultOf(Deferred.fromCoroutine(self._stopped(service)))

    async def _stopped(self, service: LoggedService) -> None:
        await service.stopService()

    def test_a_log_that_is_rotated_during_the_start(self) -> None:
        """SIGUSR1 does not end the process any more once twistd knows what it is to run, and is not lost."""
        machine = Machine()
        vars(machine)["callFromThread"] = partial(machine.callLater, 0)
        path = Path(self.mktemp())
        service = self.make({**API, "WS_LISTEN": "tcp:1"}, twistd={"logfile": str(path)}, reactor=machine)
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_DFL)
        service.setServiceParent(cast(Any, Application("wsaas")))
        self.assertNotEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_DFL)
        path.unlink()
        signal.raise_signal(signal.SIGUSR1)
        self.assertFalse(path.exists())
        machine.advance(0)
        self.assertTrue(path.exists())

    def test_names_are_looked_up_by_our_resolver(self) -> None:
        """From the start on, when DELETEs of an earlier life are sent."""
        machine = Machine()
        self.make(API, reactor=machine)
        self.assertIsInstance(machine.nameResolver, Resolver)

    def test_time(self) -> None:
        """By a monotonic clock, before anything is scheduled; Twisted's is the time of day."""
        loop = Loop()
        self.addCleanup(loop.close)
        self.make(API, reactor=loop)
        self.assertIs(loop.seconds, monotonic)
        loop = Loop()
        self.addCleanup(loop.close)
        self.addCleanup(loop.callLater(1, self.fail).cancel)
        self.assertRaises(RuntimeError, self.make, API, reactor=loop)

    def test_options_win(self) -> None:
        """Over the environment that is passed in."""
        machine = Machine()
        self.make({**API, "WS_LISTEN": "tcp:1"}, "--ws-listen=tcp:2", reactor=machine).privilegedStartService()
        self.assertEqual(machine.places(), {("", 2)})

    def test_the_processs_own_environment(self) -> None:
        """If none is passed in; and the global reactor."""
        self.patch(os, "environ", {**API, "WS_LISTEN": "tcp:0:interface=127.0.0.1"})
        options = Options()
        options.parseOptions([])
        service = makeService(options)
        self.addCleanup(service.stopService)
        service.privilegedStartService()
        service.startService()
        (gateway,) = service
        assert isinstance(gateway, Gateway)
        where = gateway.ports[0].getHost()
        assert isinstance(where, IPv4Address)
        self.assertEqual(where.host, "127.0.0.1")

    def test_warnings_are_logged(self) -> None:
        """One line each."""
        self.make(API)
        said = [formatEvent(event) for event in self.events if event["log_level"] is LogLevel.warn]
        self.assertEqual(said, warnings(read_settings(API)))
        self.assertEqual(len(said), 1)
        self.events.clear()
        self.make({**API, "PUSH_TOKENS": "not-to-be-seen"})
        said = [formatEvent(event) for event in self.events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(said), 2)
        self.assertEqual(said[1], "PUSH_TOKENS is not a setting. Did you mean PUSH_TOKEN? It has no effect")
        self.assertNotIn("not-to-be-seen", said[1])

    def logged(self, service: LoggedService) -> ILogObserver | None:
        """:returns: the observer that twistd is given"""
        application: Any = Application("wsaas")
        service.setServiceParent(application)
        observer: ILogObserver | None = application.getComponent(ILogObserver)
        return observer

    def say(self, service: LoggedService) -> None:
        """Log a line the way twistd would have it logged."""
        observer = self.logged(service)
        assert observer is not None
        observer({"log_time": 0.0, "log_level": LogLevel.info, "log_namespace": "x", "log_format": "hello"})

    def test_priorities_for_the_journal(self) -> None:
        """If standard output is what JOURNAL_STREAM names, and only then."""
        path = Path(self.mktemp())
        for inode, begins in ((0, "1970-"), (None, "<6>1970-")):
            with path.open("w+", encoding="utf-8") as output:
                status = os.fstat(output.fileno())
                environ = {**API, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino if inode is None else inode}"}
                self.patch(sys, "stdout", output)
                self.say(self.make(environ))
                self.assertTrue(path.read_text(encoding="utf-8").startswith(begins))

    def test_in_the_foreground_it_logs_to_standard_output(self) -> None:
        """With --nodaemon, or a log file called ``-``."""
        for twistd in (None, {"nodaemon": True, "logfile": None}, {"nodaemon": False, "logfile": "-"}):
            written = self.standard_output()
            self.say(self.make(API, twistd=twistd))
            self.assertEqual(written.read_text(), "1970-01-01T00:00:00.000Z INFO  x hello\n")

    def standard_output(self) -> Path:
        """:returns: what standard output is for now"""
        path = Path(self.mktemp())
        stream = path.open("w", encoding="ascii")
        self.addCleanup(stream.close)
        self.patch(sys, "stdout", stream)
        return path

    def test_without_standard_output(self) -> None:
        """It logs nowhere, least of all to whoever has got that descriptor."""
        self.patch(sys, "stdout", None)
        self.say(self.make(API))

    def test_to_a_file_as_twistd_was_told(self) -> None:
        """With --logfile; in the form of LOG_FORMAT."""
        path = Path(self.mktemp()).absolute()
        self.say(self.make({**API, "LOG_FORMAT": "json"}, twistd={"nodaemon": True, "logfile": str(path)}))
        self.assertEqual(json.loads(path.read_text())["message"], "hello")

    def test_a_file_that_cannot_be_written(self) -> None:
        """Is one line, as with settings."""
        path = "/proc/none/x.log"
        stop = self.assertRaises(SystemExit, self.make, API, twistd={"nodaemon": True, "logfile": path})
        said = f"wsaas: --logfile: {path!r} cannot be used; allowed: a file that can be written"
        self.assertEqual(stop.code, f"{said} (No such file or directory)")

    def test_as_a_daemon_to_twistds_own_file(self) -> None:
        """twistd.log in its folder, which is the current one when it asks."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(folder)
        self.say(self.make(API, twistd={"nodaemon": False, "logfile": None}))
        self.assertIn("hello", (folder / "twistd.log").read_text())

    def test_syslog_is_twistds_business(self) -> None:
        """It has an observer for it."""
        self.assertIsNone(self.logged(self.make(API, twistd={"syslog": True})))

    def test_a_quiet_level(self) -> None:
        """``LOG_LEVEL`` is the observer's."""
        written = self.standard_output()
        self.say(self.make({**API, "LOG_LEVEL": "ERROR"}))
        self.assertEqual(written.read_text(), "")

    def test_a_port_in_use_is_one_line(self) -> None:
        """It shows only when twistd has the service listen, which lets the exception go up."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            place = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            service = self.make({**API, "WS_LISTEN": place}, reactor=real_reactor)
            error = self.assertRaises(SettingsError, service.privilegedStartService)
        written = StringIO()
        self.patch(sys, "stderr", written)
        sys.excepthook(type(error), error, error.__traceback__)
        self.assertTrue(written.getvalue().startswith(f"wsaas: WS_LISTEN: {place!r} "), written.getvalue())
        self.assertEqual(written.getvalue().count("\n"), 1)

    def test_other_exceptions_are_shown_in_full(self) -> None:
        """They are faults, and a traceback helps."""
        self.make(API)
        written = StringIO()
        self.patch(sys, "stderr", written)
        try:
            raise usage.UsageError("something else")
        except usage.UsageError as error:
            sys.excepthook(type(error), error, error.__traceback__)
        self.assertIn("Traceback", written.getvalue())
        self.assertIn("something else", written.getvalue())
