"""The parts, put together: who gets what."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import self_signed
from tests.gate import handshake_request, http_request, read_answer
from tests.memory_machine import Machine, built
from tests.unit.settings.test_read import SECRETS
from wsaas import assembly
from wsaas.assembly import build
from wsaas.connections.identity import new_identity
from wsaas.connections.interfaces import NO_JOURNAL
from wsaas.errors import SettingsError
from wsaas.operations.service import Gateway
from wsaas.settings.read import read_settings

API = {"API_URI": "127.0.0.1:9000/websocket"}
KEY = new_identity("", bytes).key


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

    def test_certificates_to_reload(self) -> None:
        """``API_CA`` or ``API_CERT`` alone make SIGHUP the signal for it, also on a terminal."""
        certificate, key = self_signed()
        path = Path(self.mktemp())
        path.write_bytes(certificate + key)
        for given in ({}, {"API_CA": str(path)}, {"API_CERT": str(path)}):
            gateway = build(read_settings({**API, **given}), Machine())
            self.assertEqual(gateway.can_reload, bool(given))

    def test_certificates_that_went_meanwhile(self) -> None:
        """Between the settings and the start: as if they had never been there."""
        path = Path(self.mktemp())
        path.write_bytes(self_signed()[0])
        settings = read_settings({**API, "API_CA": str(path)})
        path.unlink()
        error = self.assertRaises(SettingsError, build, settings, Machine())
        self.assertEqual((error.name, error.given), ("API_CA", str(path.absolute())))

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
        """A push finds no connection, a page nothing."""
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
        """Pushes without a token are refused, callbacks are signed."""
        machine, _ = self.started(WS_LISTEN="tcp:1", PUSH_TOKEN="token", API_SECRET=SECRETS)
        self.assertEqual(self.status(machine, 1, "PUT", f"/{KEY}"), 401)
        machine.connect(1).deliver(handshake_request())
        api = StringTransport()
        built(machine.tcpClients[0][2]).makeConnection(api)
        self.assertRegex(api.value(), rb"\r\nWs-Signature: v1=[0-9a-f]{64} v1=[0-9a-f]{64}\r\n")

    def test_no_memory_for_tls(self) -> None:
        """An API by TLS is refused at the start where no call to it could work."""

        def refuse(*_: object) -> None:
            raise MemoryError("no write+execute memory")

        self.patch(SSL.Context, "set_verify", refuse)
        self.started(WS_LISTEN="tcp:1")
        error = self.assertRaises(SettingsError, self.started, API_URI="https://api.test/x?key=secret")
        self.assertEqual((error.name, error.given), ("API_URI", "https://api.test/x?…"))
        self.assertIn("no write+execute memory", str(error))

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
            self.assertEqual(self.status(machine, 1, "GET", page), 200 if page == "/healthz" else 426)
        self.assertEqual(self.status(machine, 2, "PUT", f"/{KEY}"), 404)

    def test_no_such_listener(self) -> None:
        """Unless it is asked for; then the lag of the loop is measured, too."""
        machine, _ = self.started(WS_LISTEN="tcp:1")
        self.assertEqual(len(machine.getDelayedCalls()), 2)
        machine, gateway = self.started(WS_LISTEN="tcp:1", ADMIN_LISTEN="tcp:2")
        self.assertEqual(len(machine.getDelayedCalls()), 3)
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

        def beside_clients() -> int:
            return self.status(machine, 1, "GET", "/healthz")

        def failing() -> list[str]:
            wire = machine.connect(2)
            wire.deliver(http_request("GET", "/readyz"))
            return list(read_answer(wire.take())[0].json.get("failing", ()))

        self.assertEqual((failing(), beside_clients()), (["starting"], 503))
        gateway.startService()
        machine.run()
        self.assertEqual((failing(), beside_clients()), ([], 200))
        machine.connect(1).deliver(handshake_request())
        self.addCleanup(machine.pump, [1] * 20)
        gateway.stopService()
        machine.pump([1] * 3)
        self.assertEqual((failing(), beside_clients()), (["draining"], 503))

    def test_a_journal_that_cannot_be_written(self) -> None:
        """New clients are refused, and /readyz says so."""
        journal = type(NO_JOURNAL)()
        self.patch(journal, "healthy", False)
        self.patch(assembly, "make_journal", lambda *_: journal)
        machine, _ = self.started(WS_LISTEN="tcp:1", ADMIN_LISTEN="tcp:2")
        machine.run()
        wire = machine.connect(2)
        wire.deliver(http_request("GET", "/readyz"))
        answer, _ = read_answer(wire.take())
        self.assertEqual((answer.status, list(answer.json["failing"])), (503, ["journal"]))

    def test_metrics_without_what_writes_them(self) -> None:
        """There are none, and the page says what to install; the others need nothing."""
        import wsaas.operations.metrics  # noqa: F401 - so that there is what is taken away

        for name in [name for name in sys.modules if name.split(".")[0] == "prometheus_client"] + [
            "wsaas.operations.metrics"
        ]:
            self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
            del sys.modules[name]
        modules: dict[str, Any] = sys.modules  # None stands for what cannot be imported
        modules["prometheus_client"] = None
        machine, _ = self.started(WS_LISTEN="tcp:1", ADMIN_LISTEN="tcp:2")
        machine.run()
        # The lag of the loop is not measured: there is nobody to ask for it.
        # Keepalive checks, and the numbers of refused pushes: no lag is measured.
        self.assertEqual(len(machine.getDelayedCalls()), 2)
        for page, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 501)):
            self.assertEqual(self.status(machine, 2, "GET", page), status)
        self.assertEqual(self.status(machine, 1, "GET", "/healthz"), 200)

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
        """Without connections it stops at once, the demo's API too."""
        for demo in (False, True):
            machine = Machine()
            gateway = build(read_settings({} if demo else API, demo=demo), machine, bytes)
            gateway.startService()
            self.successResultOf(gateway.stopService())
            self.assertEqual(gateway.ports, [])
