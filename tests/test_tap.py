"""``twistd wsaas``: options, environment, the service they make, and what is said when it cannot be made."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, cast

from twisted.application.service import Application, IService, IServiceCollection, MultiService, Service
from twisted.internet import reactor as real_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.gate import Wire, handshake_request, http_request, read_answer
from tests.test_settings import SECRETS, UNUSABLE, shown_of
from wsaas import __version__, tap
from wsaas.errors import SettingsError
from wsaas.gateway import Gateway
from wsaas.identity import new_identity
from wsaas.journal import NO_JOURNAL
from wsaas.logs import make_observer
from wsaas.settings import SETTINGS, LogSettings, Settings, read_settings
from wsaas.tap import LoggedService, Options, build, makeService, warnings

API = {"API_URI": "127.0.0.1:9000/websocket"}
KEY = new_identity("", bytes).key


def built(factory: Any, address: Any = None) -> Any:
    """:returns: a protocol, of types that Twisted leaves open"""
    protocol = factory.buildProtocol(address)
    assert protocol is not None
    return protocol


class Machine(MemoryReactorClock):
    """Listens and connects in memory; an ephemeral port is 40000."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        return super().listenTCP(port or 40000, factory, backlog, interface)

    def places(self) -> set[tuple[str, int]]:
        """:returns: where it is listened at: interfaces and ports"""
        return {(interface, port) for port, _, _, interface in self.tcpServers}

    def connect(self, port: int) -> Wire:
        """Connect to a listening port."""
        factory = next(factory for number, factory, *_ in self.tcpServers if number == port)
        wire = Wire(self)
        return wire.attach(built(factory, wire.getPeer()))


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
        """Everybody on the machine sees those; the environment and the names of files pass through."""
        self.assertEqual([setting.name for setting in SETTINGS if setting.secret], ["API_SECRET", "PUSH_TOKEN"])
        for name in ("api-secret", "push-token", "api-secret-file", "api-headers-file"):
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
        """It is somebody else's."""
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
        self.assertTrue(self.refused({}).startswith("wsaas: API_URI: "))
        self.assertTrue(self.refused(API, "--demo").startswith("wsaas: API_URI: "))

    def test_combinations(self) -> None:
        """Each by itself would do."""
        for environ, name in (
            ({"PUSH_LISTEN": "tcp:9001"}, "WS_HOSTNAME"),
            ({"WS_MAX_MESSAGE": "1048576"}, "WS_MAX_BUFFER"),
            ({"FORWARD_HEADERS": "Cookie"}, "FORWARD_HEADERS"),
        ):
            self.assertTrue(self.refused({**API, **environ}).startswith(f"wsaas: {name}: "), name)

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


class WarningsTests(SynchronousTestCase):
    """What is allowed and yet worth a line at the start (protocol §5)."""

    def settings(self, *, demo: bool = False, **given: str) -> Settings:
        """:returns: settings, those of a gateway of which only this machine knows unless told otherwise"""
        usual = {} if demo else {**API, "WS_LISTEN": "tcp:8080:interface=127.0.0.1"}
        return read_settings({**usual, **given}, demo=demo)

    def test_nothing_to_warn_of(self) -> None:
        """Pushes from this machine only, an API on this machine."""
        self.assertEqual(warnings(self.settings()), [])
        self.assertEqual(warnings(self.settings(demo=True)), [])

    def test_more_clients_than_files(self) -> None:
        """What was allowed is not to be had; the warning says what is."""
        settings = self.settings(WS_MAX_CONNECTIONS="1000")
        self.assertEqual(warnings(settings, 20_000), [])
        (found,) = warnings(settings, 1024)
        self.assertIn("WS_MAX_CONNECTIONS is 1000", found)
        self.assertIn("1024 open files", found)

    def test_pushes_from_elsewhere(self) -> None:
        """Whoever learns a ``ws_uri`` can push; the warning says what keeps others out."""
        for listen in (
            "",
            "tcp:8080",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:interface=127.0.0.1 tcp:8081",
            "tcp6:8080:interface=2001\\:db8\\:\\:1",
            "tcp6:8080:interface=\\:\\:",
            "systemd:domain=INET:index=0",
        ):
            found = warnings(self.settings(WS_LISTEN=listen))
            self.assertEqual(len(found), 1, listen)
            self.assertIn("PUSH_LISTEN", found[0])

    def test_pushes_from_this_machine_only(self) -> None:
        """However that is written."""
        for listen in (
            "tcp:8080:interface=127.0.0.2",
            "tcp:8080:interface=localhost",
            "tcp6:8080:interface=\\:\\:1",
            "unix:/run/wsaas.sock",
            "tcp:8080:backlog=5:interface=127.0.0.1",
            "haproxy:tcp:8080:interface=127.0.0.1",
            "haproxy:unix:/run/wsaas.sock",
        ):
            self.assertEqual(warnings(self.settings(WS_LISTEN=listen)), [], listen)

    def test_pushes_with_a_client_certificate(self) -> None:
        """Nobody pushes without one, wherever from; of every endpoint that takes pushes."""
        asks = "ssl:8443:privateKey=/k:caCerts=/ca", "tls:/tls:8443:caCerts=/ca", "haproxy:tls:/tls:8443:caCerts=/ca"
        for place in (*asks, " ".join(asks), f"{asks[0]} tcp:8080:interface=127.0.0.1"):
            settings = self.settings(PUSH_LISTEN=place, WS_HOSTNAME="https://localhost:8443")
            self.assertEqual(warnings(settings), [], place)
        for place in ("ssl:8443:privateKey=/k", "tls:/tls:8443", f"{asks[0]} tls:/tls:8444", f"{asks[0]} tcp:8080"):
            (found,) = warnings(self.settings(PUSH_LISTEN=place, WS_HOSTNAME="https://localhost:8443"))
            self.assertIn("caCerts=", found)

    def test_a_listener_of_their_own(self) -> None:
        """Then it does not matter where clients come from."""
        for place, count in (("tcp:9001:interface=127.0.0.1", 0), ("tcp:9001", 1)):
            settings = self.settings(WS_LISTEN="tcp:8080", WS_HOSTNAME="http://localhost:9001", PUSH_LISTEN=place)
            self.assertEqual(len(warnings(settings)), count, place)

    def test_an_api_elsewhere_that_is_led_to_itself(self) -> None:
        """By a ``WS_HOSTNAME`` that means "this machine" everywhere."""
        for hostname in ("http://localhost:8080", "localhost", "127.0.0.1:8080", "http://[::1]:8080", "x.localhost"):
            found = warnings(self.settings(API_URI="http://api.example/", WS_HOSTNAME=hostname, API_SECRET=SECRETS))
            self.assertEqual(len(found), 1, hostname)
            self.assertIn("WS_HOSTNAME", found[0])
            self.assertIn("api.example", found[0])
        for api in ("localhost", "127.0.0.1", "[::1]:80"):
            self.assertEqual(warnings(self.settings(API_URI=api)), [])
        settings = self.settings(API_URI="http://api.example/", WS_HOSTNAME="push.example", API_SECRET=SECRETS)
        self.assertEqual(warnings(settings), [])

    def test_an_api_elsewhere_that_cannot_tell_who_calls(self) -> None:
        """It is told to check signatures."""
        (found,) = warnings(self.settings(API_URI="http://api.example/", WS_HOSTNAME="push.example"))
        self.assertIn("API_SECRET", found)
        for api in ("localhost", "127.0.0.1", "[::1]:80"):
            self.assertEqual(warnings(self.settings(API_URI=api)), [])

    def test_pushes_from_elsewhere_that_need_a_token(self) -> None:
        """They are what the operator wants."""
        (found,) = warnings(self.settings(WS_LISTEN="tcp:8080"))
        self.assertIn("PUSH_TOKEN", found)
        self.assertEqual(warnings(self.settings(WS_LISTEN="tcp:8080", PUSH_TOKEN="token")), [])


class BuildTests(SynchronousTestCase):
    """The parts put together, with everything outside in memory."""

    def started(self, *, demo: bool = False, **given: str) -> tuple[Machine, Gateway]:
        """:returns: a gateway that listens, and its machine"""
        machine = Machine()
        gateway = build(read_settings(given if demo else {**API, **given}, demo=demo), machine, bytes)
        gateway.privilegedStartService()
        gateway.startService()
        self.addCleanup(gateway.stopService)
        return machine, gateway

    def status(self, machine: Machine, port: int, method: str, target: str) -> int:
        """:returns: the status of the answer to a request"""
        wire = machine.connect(port)
        wire.deliver(http_request(method, target, b"" if method == "PUT" else None))
        return read_answer(wire.take())[0].status

    def test_the_default_port(self) -> None:
        """Of every address."""
        machine, _ = self.started()
        self.assertEqual(machine.places(), {("", 8080), ("::", 8080)})

    def test_clients_and_pushes_on_one_listener(self) -> None:
        """A push finds nobody, a page nothing."""
        machine, _ = self.started(WS_LISTEN="tcp:1 tcp:2")
        self.assertEqual(machine.places(), {("", 1), ("", 2)})
        for port in (1, 2):
            self.assertEqual(self.status(machine, port, "PUT", f"/{KEY}"), 404)
            self.assertEqual(self.status(machine, port, "GET", "/"), 426)

    def test_a_listener_for_pushes(self) -> None:
        """Then the clients' takes none, and the pushes' no clients."""
        machine, _ = self.started(WS_LISTEN="tcp:1", PUSH_LISTEN="tcp:2", WS_HOSTNAME="localhost:2")
        self.assertEqual(self.status(machine, 1, "PUT", f"/{KEY}"), 405)
        self.assertEqual(self.status(machine, 2, "PUT", f"/{KEY}"), 404)
        wire = machine.connect(2)
        wire.deliver(handshake_request())
        self.assertEqual(read_answer(wire.take())[0].status, 404)
        self.assertEqual(machine.tcpClients, [])

    def test_secrets_reach_those_who_need_them(self) -> None:
        """Pushes without a token are refused on both roads, callbacks are signed on both."""
        for fast in ("on", "off"):
            machine, _ = self.started(WS_LISTEN="tcp:1", PUSH_TOKEN="token", API_SECRET=SECRETS, FAST_LANES=fast)
            self.assertEqual(self.status(machine, 1, "PUT", f"/{KEY}"), 401)
            machine.connect(1).deliver(handshake_request())
            api = StringTransport()
            built(machine.tcpClients[0][2]).makeConnection(api)
            self.assertRegex(api.value(), rb"\r\nWs-Signature: v1=[0-9a-f]{64} v1=[0-9a-f]{64}\r\n")

    def test_a_handshake_asks_the_api(self) -> None:
        """At ``API_URI``, naming the ``ws_uri``; its consent opens the WebSocket, and pushes reach it."""
        machine, _ = self.started(WS_LISTEN="tcp:1", WS_HOSTNAME="https://push.example/x/")
        wire = machine.connect(1)
        wire.deliver(handshake_request("/chat"))
        host, port, factory, *_ = machine.tcpClients[0]
        self.assertEqual((host, port), ("127.0.0.1", 9000))
        api = StringTransport()
        protocol = built(factory)
        protocol.makeConnection(api)
        head, _, body = api.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"POST /websocket HTTP/1.1\r\n"), head)
        self.assertEqual(json.loads(body), {"ws_uri": f"https://push.example/x/{KEY}"})
        protocol.dataReceived(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"code": "OK"}')
        self.assertEqual(read_answer(wire.take())[0].status, 101)
        self.assertEqual(self.status(machine, 1, "PUT", f"/x/{KEY}"), 200)
        wire.end()

    def test_a_state_dir_that_cannot_be_used(self) -> None:
        """Known when the service starts, not before: twistd may fork meanwhile. Then nothing listens."""
        folder = Path(self.mktemp()).absolute()
        folder.write_text("no folder")
        machine = Machine()
        gateway = build(read_settings({**API, "STATE_DIR": str(folder)}), machine, bytes)
        error = self.assertRaises(SettingsError, gateway.privilegedStartService)
        self.assertEqual((error.name, error.given), ("STATE_DIR", str(folder)))
        self.assertEqual(machine.places(), set())

    def test_compression_is_offered_only_if_it_is_on(self) -> None:
        """permessage-deflate (RFC 7692)."""
        for setting, accepted in (("off", False), ("on", True)):
            machine, _ = self.started(WS_LISTEN="tcp:1", WS_COMPRESSION=setting)
            wire = machine.connect(1)
            wire.deliver(handshake_request("/", ("Sec-WebSocket-Extensions", "permessage-deflate")))
            protocol = built(machine.tcpClients[0][2])
            protocol.makeConnection(StringTransport())
            protocol.dataReceived(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"code": "OK"}')
            answer, _ = read_answer(wire.take())
            extensions = answer.header("Sec-WebSocket-Extensions") or ""
            self.assertEqual((answer.status, extensions.startswith("permessage-deflate")), (101, accepted))
            wire.end()

    def test_a_head_has_its_time(self) -> None:
        """``WS_TIMEOUT``; and some even where that is 0, or nothing would end a silent connection."""
        for setting, seconds in (("5000", 5), ("0", 30)):
            machine, _ = self.started(WS_LISTEN="tcp:1", WS_TIMEOUT=setting)
            wire = machine.connect(1)
            machine.advance(seconds - 0.1)
            self.assertEqual(wire.take(), b"")
            machine.advance(0.1)
            self.assertEqual(read_answer(wire.take())[0].status, 408)

    def test_a_listener_for_those_who_look_after_it(self) -> None:
        """It has its own pages and nothing else; others have none of them."""
        machine, _ = self.started(WS_LISTEN="tcp:1", ADMIN_LISTEN="tcp:2:interface=127.0.0.1")
        machine.run()
        self.assertEqual(machine.places(), {("", 1), ("127.0.0.1", 2)})
        for page in ("/healthz", "/readyz", "/metrics"):
            self.assertEqual(self.status(machine, 2, "GET", page), 200)
            self.assertEqual(self.status(machine, 1, "GET", page), 426)
        self.assertEqual(self.status(machine, 2, "PUT", f"/{KEY}"), 404)

    def test_no_such_listener(self) -> None:
        """Unless it is asked for; then the loop is looked at, too."""
        machine, _ = self.started(WS_LISTEN="tcp:1")
        self.assertEqual(len(machine.getDelayedCalls()), 1)
        machine, gateway = self.started(WS_LISTEN="tcp:1", ADMIN_LISTEN="tcp:2")
        self.assertEqual(len(machine.getDelayedCalls()), 2)
        machine.pump([0.1] * 5)
        wire = machine.connect(2)
        wire.deliver(http_request("GET", "/metrics"))
        self.assertIn(b"\nwsaas_event_loop_lag_seconds_count 5.0\n", read_answer(wire.take())[0].body)
        wire.end()
        gateway.stopService()
        machine.pump([0.01] * 100)
        self.assertEqual(machine.getDelayedCalls(), [])

    def test_readiness(self) -> None:
        """Not before it runs, not when it ends; it can be asked as long as a client is there."""
        settings = read_settings({**API, "WS_LISTEN": "tcp:1", "ADMIN_LISTEN": "tcp:2"})
        machine = Machine()
        gateway = build(settings, machine, bytes)
        gateway.privilegedStartService()

        def failing() -> list[str]:
            wire = machine.connect(2)
            wire.deliver(http_request("GET", "/readyz"))
            return list(read_answer(wire.take())[0].json.get("failing", ()))

        self.assertEqual(failing(), ["starting"])
        gateway.startService()
        machine.run()
        self.assertEqual(failing(), [])
        machine.connect(1).deliver(handshake_request())
        self.addCleanup(machine.pump, [1] * 20)
        gateway.stopService()
        machine.pump([1] * 3)
        self.assertEqual(failing(), ["draining"])

    def test_a_journal_that_cannot_be_written(self) -> None:
        """Nobody new is let in, and it says so."""
        journal = type(NO_JOURNAL)()
        self.patch(journal, "healthy", False)
        self.patch(tap, "make_journal", lambda *_: journal)
        machine, _ = self.started(WS_LISTEN="tcp:1", ADMIN_LISTEN="tcp:2")
        machine.run()
        wire = machine.connect(2)
        wire.deliver(http_request("GET", "/readyz"))
        answer, _ = read_answer(wire.take())
        self.assertEqual((answer.status, list(answer.json["failing"])), (503, ["journal"]))

    def test_metrics_without_what_writes_them(self) -> None:
        """The start says what to install."""
        import wsaas.metrics  # noqa: F401 - so that there is what is taken away

        for name in [name for name in sys.modules if name.split(".")[0] == "prometheus_client"] + ["wsaas.metrics"]:
            self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
            del sys.modules[name]
        modules: dict[str, Any] = sys.modules  # None stands for what cannot be imported
        modules["prometheus_client"] = None
        settings = read_settings({**API, "ADMIN_LISTEN": "tcp:2"})
        error = self.assertRaises(SettingsError, build, settings, Machine())
        self.assertEqual((error.name, error.given), ("ADMIN_LISTEN", "tcp:2"))
        self.assertIn("pip install prometheus_client", str(error))
        build(read_settings(API), Machine())

    def test_the_demo(self) -> None:
        """On this machine only; a page where there is none otherwise, and an API that is called."""
        machine, _ = self.started(demo=True)
        self.assertEqual(machine.places(), {("127.0.0.1", 8080), ("::1", 8080), ("127.0.0.1", 40000)})
        wire = machine.connect(8080)
        wire.deliver(http_request("GET", "/"))
        self.assertIn(b" 200 ", wire.take()[:20])
        wire = machine.connect(8080)
        wire.deliver(handshake_request("/"))
        self.assertEqual(machine.tcpClients[0][1], 40000)

    def test_the_demo_elsewhere(self) -> None:
        """Where it is told to."""
        machine, _ = self.started(demo=True, WS_LISTEN="tcp:1")
        self.assertEqual(machine.places(), {("", 1), ("127.0.0.1", 40000)})

    def test_it_stops(self) -> None:
        """With nobody there, at once, the demo's API too."""
        for demo in (False, True):
            machine = Machine()
            gateway = build(read_settings({} if demo else API, demo=demo), machine, bytes)
            gateway.startService()
            self.successResultOf(gateway.stopService())
            self.assertEqual(gateway.ports, [])


class LoggedServiceTests(SynchronousTestCase):
    """The top service."""

    def test_it_gives_the_application_its_observer(self) -> None:
        """twistd asks the application for it."""
        observer = make_observer(LogSettings("INFO", "text"), StringIO())
        application: Any = Application("wsaas")
        LoggedService(observer, lambda: None).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)

    def test_the_collector_is_settled_after_the_start(self) -> None:
        """Not before: what the start makes stays."""
        events: list[str] = []
        child = Service()
        child.startService = lambda: events.append("started")  # type: ignore[method-assign]  # tells when
        service = LoggedService(None, lambda: events.append("settled"))
        child.setServiceParent(service)
        service.startService()
        self.assertEqual(events, ["started", "settled"])

    def test_without_an_observer_it_is_left_to_twistd(self) -> None:
        """As with --syslog."""
        application: Any = Application("wsaas")
        service = LoggedService(None, lambda: None)
        service.setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver))
        self.assertIs(service.parent, IServiceCollection(application))

    def test_under_another_service_it_changes_nothing(self) -> None:
        """Which is not who twistd asks."""
        parent = MultiService()
        service = LoggedService(make_observer(LogSettings("INFO", "text"), StringIO()), lambda: None)
        service.setServiceParent(parent)
        self.assertEqual(list(parent), [service])


class MakeServiceTests(TestCase):
    """From options and environment to a service."""

    def setUp(self) -> None:
        self.patch(sys, "excepthook", sys.excepthook)
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

    def test_in_the_foreground_it_logs_to_standard_output(self) -> None:
        """With --nodaemon, or a log file called ``-``."""
        for twistd in (None, {"nodaemon": True, "logfile": None}, {"nodaemon": False, "logfile": "-"}):
            written = StringIO()
            self.patch(sys, "stdout", written)
            self.say(self.make(API, twistd=twistd))
            self.assertEqual(written.getvalue(), "1970-01-01T00:00:00.000Z INFO  x hello\n")

    def test_to_a_file_as_twistd_was_told(self) -> None:
        """With --logfile; in the form of LOG_FORMAT."""
        path = Path(self.mktemp()).absolute()
        self.say(self.make({**API, "LOG_FORMAT": "json"}, twistd={"nodaemon": True, "logfile": str(path)}))
        self.assertEqual(json.loads(path.read_text())["message"], "hello")

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
        written = StringIO()
        self.patch(sys, "stdout", written)
        self.say(self.make({**API, "LOG_LEVEL": "ERROR"}))
        self.assertEqual(written.getvalue(), "")

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
