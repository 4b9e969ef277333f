"""The service: start order, checks of connections, and the stop within DRAIN_TIMEOUT."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.gate import (
    CLOSE,
    PING,
    PONG,
    Frame,
    Gate,
    Wire,
    close_frame,
    close_payload,
    frame,
    handshake_request,
    read_answer,
    read_frames,
)
from wsaas.connections.connection import Connection
from wsaas.connections.timer_wheel import TimerWheel
from wsaas.errors import SettingsError
from wsaas.net.descriptors import Descriptors, Shares
from wsaas.net.listen import Endpoint, endpoints
from wsaas.operations import service as gateway
from wsaas.operations.service import Clients, Gateway, Hooks, Host, Listener
from wsaas.operations.systemd import Notifier


@implementer(IListeningPort)
class OpenPort:
    """A port that listens until it is told to stop, which takes a turn of the reactor."""

    def __init__(self, reactor: ListeningReactor, address: IAddress, name: object) -> None:
        self._reactor = reactor
        self._address = address
        self._name = name
        reactor.open.append(name)

    def startListening(self) -> None:
        """It does."""

    def stopListening(self) -> Deferred[None]:
        """Stop, soon."""
        stopped: Deferred[None] = Deferred()

        def stop() -> None:
            self._reactor.open.remove(self._name)
            stopped.callback(None)

        self._reactor.callLater(0, stop)
        return stopped

    def getHost(self) -> IAddress:
        """:returns: where it listens"""
        return self._address

    def pauseProducing(self) -> None:
        """Pause accepting."""
        self._reactor.paused.append(self._name)

    def resumeProducing(self) -> None:
        """Resume accepting."""
        self._reactor.paused.remove(self._name)


class ListeningReactor(MemoryReactorClock):
    """A reactor in memory that knows which ports are taken."""

    def __init__(self) -> None:
        super().__init__()
        #: What listens now, in order.
        self.open: list[object] = []
        #: Which of them are paused.
        self.paused: list[object] = []
        #: What others have taken.
        self.busy: set[object] = set()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Listen, unless the port is taken."""
        if port in self.busy:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "Address already in use"))
        kind = IPv6Address if ":" in interface else IPv4Address
        return OpenPort(self, kind("TCP", interface or "0.0.0.0", port), port)

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> IListeningPort:
        """Listen."""
        return OpenPort(self, UNIXAddress(address.encode()), address)


class ListeningGate(Gate):
    """The gateway's parts on such a reactor."""

    make_clock = ListeningReactor
    clock: ListeningReactor


class GatewayTestCase(SynchronousTestCase):
    """A gateway in memory."""

    def setUp(self) -> None:
        """Put its parts together."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.gate = ListeningGate()
        self.clock = self.gate.clock
        self.done: list[str] = []
        self.gateway = self.make()

    def make(
        self,
        clients: str = "tcp:8080",
        pushes: str = "tcp:9000:interface=127.0.0.1",
        drain: float = 10.0,
        before: Callable[[], Deferred[None]] | None = None,
        after: Callable[[], Deferred[None]] | None = None,
        write: Callable[[], Deferred[None]] | None = None,
        *,
        shared: bool = True,
        adopted: bool = False,
        notifier: Notifier | None = None,
    ) -> Gateway:
        """:returns: a gateway with two listeners

        :param shared: whether pushes may come in where clients do, too
        :param adopted: whether the clients' sockets are handed over by another process
        """
        places = endpoints(self.clock, "WS_LISTEN", clients.split())
        for place in places:
            place.adopted = adopted
        places_for_pushes: list[Endpoint] = endpoints(self.clock, "PUSH_LISTEN", pushes.split())
        listeners = [
            Listener(self.gate.site, places, "clients", pushes=shared, clients=True),
            Listener(self.gate.push_site, places_for_pushes, "pushes", pushes=True),
        ]
        return Gateway(
            self.clock,
            listeners,
            Clients(self.gate.registry, self.gate.totals, self.gate.upgrade),
            drain,
            Hooks(
                [before or self.note("before")],
                self.gate.disconnects.hurry,
                [after or self.note("after")],
                write or self.note("written"),
            ),
            Host(notifier or Notifier(self.clock, {}, str), Descriptors(self.clock, Shares(1, 1, 1, 1))),
        )

    def note(self, what: str) -> Callable[[], Deferred[None]]:
        """:returns: a call that is remembered, with the number of ports that listen then"""

        def call() -> Deferred[None]:
            self.done.append(f"{what} with {len(self.clock.open)}")
            return succeed(None)

        return call

    def start(self) -> None:
        """Start as twistd does."""
        self.gateway.privilegedStartService()
        self.gateway.startService()
        self.clock.run()

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, as it does."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-6:
            self.clock.advance(min(0.01, end - self.clock.seconds()))

    def lines(self, level: Any) -> list[str]:
        """:returns: what was logged at a level"""
        return [formatEvent(event) for event in self.events if event["log_level"] is level]


class StartTests(GatewayTestCase):
    """The way up."""

    def test_order(self) -> None:
        """First what must be there before, then the ports in the order of the settings, while low ones may be bound."""
        self.gateway.privilegedStartService()
        self.assertEqual((self.done, self.clock.open), (["before with 0"], [8080, 9000]))
        self.assertFalse(self.gateway.running)
        self.gateway.startService()
        self.assertTrue(self.gateway.running)
        self.assertEqual((self.done, self.clock.open), (["before with 0"], [8080, 9000]))

    def test_without_the_privileged_part(self) -> None:
        """An application that only starts the service listens all the same."""
        self.gateway.startService()
        self.assertEqual(self.clock.open, [8080, 9000])

    def test_one_line_for_each_port(self) -> None:
        """Where it listens, and for whom."""
        self.gateway = self.make("tcp:8080 tcp6:8081 unix:/run/wsaas.sock")
        self.start()
        found = [line for line in self.lines(LogLevel.info) if line.startswith("listening")]
        self.assertEqual(
            found,
            [
                "listening: tcp:0.0.0.0:8080 (clients)",
                "listening: tcp:[::]:8081 (clients)",
                "listening: unix:/run/wsaas.sock (clients)",
                "listening: tcp:127.0.0.1:9000 (pushes)",
            ],
        )

    def test_port_in_use(self) -> None:
        """SettingsError, which names the setting and the place; nothing listens then, of whichever setting."""
        for busy, setting in ((8080, "WS_LISTEN"), (8081, "WS_LISTEN"), (9000, "PUSH_LISTEN"), (9001, "PUSH_LISTEN")):
            self.clock.busy = {busy}
            self.gateway = self.make("tcp:8080 tcp:8081", "tcp:9000 tcp:9001")
            error = self.assertRaises(SettingsError, self.gateway.privilegedStartService)
            self.clock.advance(0)
            self.clock.advance(0)
            self.assertEqual((error.name, error.given), (setting, f"tcp:{busy}"))
            self.assertIn("in use", str(error))
            self.assertEqual(self.clock.open, [], busy)
            self.assertEqual(self.gateway.ports, [])

    def test_what_must_be_there_before_fails(self) -> None:
        """Nothing listens, and the start fails."""
        self.gateway = self.make(before=lambda: fail(ZeroDivisionError()))
        self.assertRaises(ZeroDivisionError, self.gateway.privilegedStartService)
        self.assertEqual(self.clock.open, [])


class CheckTests(GatewayTestCase):
    """The periodic checks of connections."""

    def test_checks_run(self) -> None:
        """Each connection is checked; a silent client is pinged, then closed."""
        self.start()
        wires = [self.gate.open(), self.gate.open()]
        self.pass_time(15.5)
        self.assertEqual([[found.opcode for found in read_frames(wire.take())] for wire in wires], [[PING], [PING]])
        self.pass_time(15)
        self.assertEqual([wire.aborted for wire in wires], [True, True])

    def test_one_fault_does_not_end_them(self) -> None:
        """It is logged, and the others are checked."""
        self.start()
        broken, fine = self.gate.open(), self.gate.open()
        victim = next(iter(self.gate.registry))
        check = Connection.check

        def faulty(connection: Connection, now: float, working_since: float) -> None:
            if connection is victim:
                raise ZeroDivisionError
            check(connection, now, working_since)

        self.patch(Connection, "check", faulty)
        self.pass_time(15.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([found.opcode for found in read_frames(fine.take())], [PING])
        self.assertEqual(broken.take(), b"")

    def test_only_who_is_due(self) -> None:
        """No other connection is checked; a client that was heard is due later."""
        checked: list[Connection] = []
        check = Connection.check

        def noted(connection: Connection, now: float, working_since: float) -> None:
            checked.append(connection)
            check(connection, now, working_since)

        self.patch(Connection, "check", noted)
        self.start()
        wires = [self.gate.open(), self.gate.open()]
        self.pass_time(10)
        self.assertEqual(checked, [])
        wires[1].deliver(frame(PONG))
        self.pass_time(10)
        self.assertEqual(len(checked), 2)
        self.assertEqual([wire.take() != b"" for wire in wires], [True, False])

    def test_many_at_a_time(self) -> None:
        """Others are served after some of them; all have their turn before time passes."""
        self.patch(gateway, "_AT_ONCE", 2)
        goes: list[int] = []
        take = TimerWheel.take

        def noted(wheel: TimerWheel[Connection], now: float, most: int) -> list[Connection]:
            taken = take(wheel, now, most)
            goes.append(len(taken))
            return taken

        self.patch(TimerWheel, "take", noted)
        self.start()
        wires = [self.gate.open() for _ in range(5)]
        self.pass_time(15.5)
        self.assertTrue(all(wire.take() for wire in wires))
        self.assertEqual([count for count in goes if count], [2, 2, 1])

    def test_a_process_that_stood_still(self) -> None:
        """Clients who could not be heard have the whole time again, and so has what is buffered for them."""
        self.start()
        wires = [self.gate.open() for _ in range(2)]
        self.gate.ask("PUT", f"/{self.gate.key}", b"a")
        wires[1].take()
        self.pass_time(5)
        wires[1].stall()
        self.gate.ask("PUT", f"/{self.gate.key}", b"a")
        self.clock.advance(100)
        self.pass_time(14)
        self.assertEqual([wire.take() for wire in wires], [b"", b""])
        self.pass_time(2)
        self.assertEqual([found.opcode for found in read_frames(wires[0].take())], [PING])
        self.assertFalse(wires[1].aborted)
        self.pass_time(15)
        self.assertEqual([wire.aborted for wire in wires], [True, True])

    def test_they_end_with_the_service(self) -> None:
        """No timer is left."""
        self.start()
        self.gateway.stopService()
        self.pass_time(0.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DrainTests(GatewayTestCase):
    """From SIGTERM to the end."""

    def open(self, count: int) -> list[Wire]:
        """Start, and open WebSockets whose API answers from now on."""
        self.start()
        self.gate.agent.react = lambda call: call.answer(200, b'{"code": "OK"}')
        return [self.gate.open_as(handshake_request()) for _ in range(count)]

    def stop(self) -> list[None]:
        """:returns: a list that has an element once the service has stopped"""
        stopped: list[None] = []
        self.gateway.stopService().addCallback(stopped.append)
        return stopped

    @property
    def disconnects(self) -> list[tuple[str | None, str | None]]:
        """Code and cause of all DELETEs."""
        return [
            (call.header("Ws-Close-Code"), call.header("Ws-Closed-By"))
            for call in self.gate.agent.calls
            if call.method == "DELETE"
        ]

    def test_nobody_here(self) -> None:
        """Then it takes no time; the ports first, then what comes after."""
        self.start()
        stopped = self.stop()
        self.clock.pump([0] * 6)
        self.assertEqual(stopped, [None])
        self.assertEqual((self.clock.open, self.done), ([], ["before with 0", "after with 0", "written with 0"]))
        self.assertFalse(self.gateway.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clients_that_answer(self) -> None:
        """1001 to each, a DELETE for each, and then the end, before its time."""
        wires = self.open(3)
        stopped = self.stop()
        self.pass_time(0.1)
        for wire in wires:
            self.assertEqual(read_frames(wire.take()), [Frame(CLOSE, close_payload(1001))])
            self.assertEqual(stopped, [])
            wire.deliver(close_frame(1001))
        self.pass_time(0.1)
        self.assertEqual(stopped, [None])
        self.assertEqual(self.disconnects, [("1001", "shutdown")] * 3)
        self.assertEqual((self.lines(LogLevel.error), self.clock.open), ([], []))

    def closed_after(self, wires: list[Wire]) -> float:
        """:returns: seconds until each client has its Close frame"""
        began = self.clock.seconds()
        waiting = list(wires)
        while waiting:
            waiting = [wire for wire in waiting if not wire.value()]
            self.clock.advance(0.01)
            self.assertLess(self.clock.seconds() - began, 20)
        return self.clock.seconds() - began

    def test_closes_are_spread(self) -> None:
        """So that the API does not get all DELETEs at once; a few take no time."""
        wires = self.open(500)
        self.stop()
        self.clock.advance(0)
        self.assertLess(sum(bool(wire.value()) for wire in wires), 20)
        self.assertTrue(0.9 < self.closed_after(wires) < 1.1)

    def test_spread_over_the_first_half_at_most(self) -> None:
        """However many there are."""
        self.gateway = self.make(drain=1.0)
        wires = self.open(500)
        self.stop()
        self.assertTrue(0.4 < self.closed_after(wires) < 0.55)

    def test_clients_that_do_not_answer(self) -> None:
        """They are cut off after three quarters, so that their DELETEs still have time."""
        self.gateway = self.make(drain=4.0)
        wires = self.open(2)
        stopped = self.stop()
        self.pass_time(2.95)
        self.assertEqual(([wire.over for wire in wires], self.disconnects, stopped), ([False, False], [], []))
        self.pass_time(0.1)
        self.assertEqual([wire.aborted for wire in wires], [True, True])
        self.assertEqual(self.disconnects, [("1001", "shutdown")] * 2)
        self.assertEqual((stopped, self.lines(LogLevel.error)), ([None], []))

    def test_an_api_that_does_not_answer(self) -> None:
        """It ends in time all the same, and says what is left."""
        wires = self.open(2)
        self.gate.agent.react = None
        stopped = self.stop()
        for wire in wires:
            wire.deliver(close_frame(1001))
        self.pass_time(9.7)
        self.assertEqual((stopped, self.done), ([], ["before with 0"]))
        # What is left is written down in the rest of the time.
        self.pass_time(0.1)
        self.assertEqual((stopped, self.done[1:]), ([None], ["after with 0", "written with 0"]))
        (line,) = self.lines(LogLevel.error)
        self.assertTrue(line.startswith("2 connections"), line)
        self.assertIn("DRAIN_TIMEOUT", line)

    def test_an_api_that_comes_back(self) -> None:
        """DELETEs that were put off are sent before the end, which waits for them."""
        wires = self.open(2)
        self.gate.agent.react = lambda call: call.answer(500)
        for wire in wires:
            wire.end()
        for _ in range(8):
            self.clock.advance(30)
        self.assertEqual((len(self.gate.registry), self.gate.totals.pending.number), (0, 2))
        stopped = self.stop()
        self.pass_time(3)
        self.assertEqual(stopped, [])
        self.gate.agent.react = lambda call: call.answer()
        self.pass_time(1.1)
        self.assertEqual(stopped, [None])
        self.assertEqual(self.gate.totals.pending.number, 0)

    def test_deletes_that_nobody_takes(self) -> None:
        """They are counted with what is left."""
        wires = self.open(3)
        self.gate.agent.react = lambda call: call.answer(500)
        wires[0].end()
        stopped = self.stop()
        for wire in wires[1:]:
            wire.deliver(close_frame(1001))
        self.pass_time(10.1)
        self.assertEqual(stopped, [None])
        (line,) = self.lines(LogLevel.error)
        self.assertTrue(line.startswith("3 connections"), line)

    def test_no_time_at_all(self) -> None:
        """DRAIN_TIMEOUT=0: each client gets a Close frame, and is cut off at once."""
        self.gateway = self.make(drain=0)
        (wire,) = self.open(1)
        stopped = self.stop()
        self.clock.pump([0] * 6)
        self.assertEqual(stopped, [None])
        self.assertTrue(wire.aborted)
        self.assertEqual(read_frames(wire.take()), [Frame(CLOSE, close_payload(1001))])
        self.assertEqual(len(self.lines(LogLevel.error)), 1)

    def come(self) -> int:
        """:returns: the status of the answer to a new client"""
        late = self.gate.connect()
        late.deliver(handshake_request())
        answer = read_answer(late.take())[0]
        if answer.status == 503:
            self.assertEqual(answer.header("Retry-After"), "5")
        return answer.status

    def test_nobody_new(self) -> None:
        """They are told so: where pushes come in, the ports listen until the clients are gone."""
        (wire,) = self.open(1)
        self.stop()
        self.pass_time(1)
        self.assertEqual((self.clock.open, self.clock.paused), ([8080, 9000], []))
        self.assertEqual(self.come(), 503)
        wire.deliver(close_frame(1001))
        self.pass_time(0.1)
        self.assertEqual(self.clock.open, [])

    def test_ports_of_clients_alone(self) -> None:
        """They are closed at once; pushes still find who is there."""
        self.gateway = self.make(shared=False)
        (wire,) = self.open(1)
        self.stop()
        self.pass_time(0)
        self.clock.advance(0)
        self.assertEqual(self.clock.open, [9000])
        wire.deliver(close_frame(1001))
        self.pass_time(0.1)
        self.assertEqual(self.clock.open, [])

    def test_adopted_ports(self) -> None:
        """They are paused, and stay open: new connections wait for the next process."""
        for shared in (True, False):
            self.gateway = self.make(shared=shared, adopted=True)
            (wire,) = self.open(1)
            self.stop()
            self.assertEqual((self.clock.open, self.clock.paused), ([8080, 9000], [8080]))
            self.pass_time(0.1)
            wire.deliver(close_frame(1001))
            self.pass_time(0.1)
            self.assertEqual((self.clock.open, self.clock.paused), ([], [8080]))
            self.gate.upgrade.draining = False
            self.clock.paused.clear()

    def test_who_was_accepted_before(self) -> None:
        """Its handshake is not refused, if it comes soon: it is closed as the others are."""
        self.gateway = self.make(adopted=True)
        self.open(0)
        wire = self.gate.connect()
        silent = self.gate.connect()
        stopped = self.stop()
        self.pass_time(0.5)
        self.assertEqual(stopped, [])
        wire.deliver(handshake_request())
        answer, rest = read_answer(wire.take())
        self.assertEqual((answer.status, rest), (101, b""))
        silent.end()
        self.pass_time(0.1)
        self.assertEqual(read_frames(wire.take()), [Frame(CLOSE, close_payload(1001))])
        wire.deliver(close_frame(1001))
        self.pass_time(0.1)
        self.assertEqual((stopped, self.disconnects), ([None], [("1001", "shutdown")]))

    def test_who_was_accepted_and_says_nothing(self) -> None:
        """It is not waited for long."""
        self.gateway = self.make(adopted=True)
        self.open(0)
        self.gate.connect()
        stopped = self.stop()
        self.pass_time(0.95)
        self.assertEqual(stopped, [])
        self.pass_time(0.15)
        self.assertEqual((stopped, self.come()), ([None], 503))

    def test_a_handshake_that_the_api_thinks_about(self) -> None:
        """It is waited for: a 101 when the grant comes, then a Close."""
        self.start()
        wire = self.gate.begin()
        stopped = self.stop()
        self.pass_time(1)
        self.assertEqual(stopped, [])
        self.gate.agent.calls[0].answer()
        answer, rest = read_answer(wire.take())
        self.assertEqual((answer.status, rest), (101, b""))
        self.pass_time(0.05)
        self.assertEqual(read_frames(wire.take()), [Frame(CLOSE, close_payload(1001))])
        wire.deliver(close_frame(1001))
        self.pass_time(0.05)
        self.gate.agent.last.answer()
        self.pass_time(0.1)
        self.assertEqual((stopped, self.disconnects), ([None], [("1001", "shutdown")]))

    def test_a_handshake_that_the_api_thinks_about_too_long(self) -> None:
        """After half of the time, it is 503, and a DELETE when the grant comes."""
        self.start()
        wire = self.gate.begin()
        stopped = self.stop()
        self.pass_time(5.1)
        self.gate.agent.calls[0].answer()
        self.assertEqual(read_answer(wire.take())[0].status, 503)
        self.gate.agent.last.answer()
        self.pass_time(0.1)
        self.assertEqual((stopped, self.disconnects), ([None], [("1001", "shutdown")]))

    def test_hurry_before(self) -> None:
        """Nothing happens until the end begins; that is a short one."""
        (wire,) = self.open(1)
        self.gateway.hurry()
        self.pass_time(1)
        self.assertFalse(wire.over)
        stopped = self.stop()
        self.clock.pump([0] * 6)
        self.assertEqual((wire.aborted, stopped, self.disconnects), (True, [None], [("1001", "shutdown")]))

    def test_hurry_while_closes_are_spread(self) -> None:
        """Each client gets a Close frame and is cut off at once; the DELETEs are sent; then it is over."""
        wires = self.open(500)
        stopped = self.stop()
        self.pass_time(0.1)
        self.assertEqual(self.disconnects, [])
        self.gateway.hurry()
        self.gateway.hurry()
        self.clock.pump([0] * 6)
        self.assertEqual({wire.aborted for wire in wires}, {True})
        self.assertEqual(self.disconnects, [("1001", "shutdown")] * 500)
        self.assertEqual((stopped, self.lines(LogLevel.error)), ([None], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hurry_while_clients_are_awaited(self) -> None:
        """They are cut off."""
        (wire,) = self.open(1)
        stopped = self.stop()
        self.pass_time(1)
        self.gateway.hurry()
        self.clock.pump([0] * 6)
        self.assertTrue(wire.aborted)
        self.assertEqual((stopped, self.disconnects), ([None], [("1001", "shutdown")]))

    def test_hurry_while_the_api_is_awaited(self) -> None:
        """It has one more second."""
        (wire,) = self.open(1)
        self.gate.agent.react = None
        stopped = self.stop()
        wire.deliver(close_frame(1001))
        self.pass_time(1)
        self.gateway.hurry()
        self.pass_time(0.9)
        self.assertEqual(stopped, [])
        self.pass_time(0.2)
        self.assertEqual((stopped, len(self.lines(LogLevel.error))), ([None], 1))

    def test_hurry_while_a_handshake_is_awaited(self) -> None:
        """The API has one more second for it, and for its DELETE."""
        self.start()
        self.gate.begin()
        stopped = self.stop()
        self.pass_time(1)
        self.gateway.hurry()
        self.pass_time(0.5)
        self.gate.agent.calls[0].answer()
        self.gate.agent.last.answer()
        self.pass_time(0.1)
        self.assertEqual((stopped, self.disconnects), ([None], [("1001", "shutdown")]))

    def test_readiness(self) -> None:
        """It is ready when the reactor runs, and not any more from the stop on."""
        self.gateway.privilegedStartService()
        self.gateway.startService()
        found = [self.gateway.ready]
        self.clock.run()
        found.append(self.gateway.ready)
        self.stop()
        self.assertEqual([*found, self.gateway.ready], [False, True, False])

    def test_systemd_is_told(self) -> None:
        """When it serves, and when it stops."""
        told: list[str] = []

        class Told(Notifier):
            def ready(self) -> None:
                told.append("ready")

            def stopping(self) -> None:
                told.append("stopping")

            def stop(self) -> None:
                told.append("stop")

        self.gateway = self.make(notifier=Told(self.clock, {}, str))
        self.start()
        self.assertEqual(told, ["ready"])
        self.stop()
        self.assertEqual(told, ["ready", "stopping"])
        self.clock.pump([0] * 6)
        self.assertEqual(told, ["ready", "stopping", "stop"])

    def test_a_message_on_its_way(self) -> None:
        """It gets its answer before the DELETE; those not begun are counted."""
        self.start()
        wire = self.gate.open()
        for number in range(3):
            wire.deliver(b"\x81\x81\0\0\0\0%d" % number)
        put = self.gate.agent.last
        self.stop()
        self.pass_time(0.1)
        wire.deliver(close_frame(1001))
        self.pass_time(1)
        self.assertEqual(self.disconnects, [])
        put.answer(200, b"")
        self.assertEqual(self.disconnects, [("1001", "shutdown")])
        self.assertEqual(self.gate.agent.last.header("Ws-Undelivered"), "2")

    def test_what_comes_after_is_waited_for(self) -> None:
        """The service has not stopped before."""
        after: Deferred[None] = Deferred()
        self.gateway = self.make(after=lambda: after)
        self.start()
        stopped = self.stop()
        self.pass_time(0.1)
        self.assertEqual(stopped, [])
        after.callback(None)
        self.assertEqual(stopped, [None])

    def test_what_comes_after_has_no_more_time_either(self) -> None:
        """From the stop to the end it is DRAIN_TIMEOUT, whatever hangs."""
        self.gateway = self.make(after=Deferred)
        self.start()
        stopped = self.stop()
        self.pass_time(9.9)
        self.assertEqual(stopped, [])
        self.pass_time(0.2)
        self.assertEqual(stopped, [None])

    def test_what_is_written_is_waited_for_all_the_same(self) -> None:
        """For a second, however much of the time is left."""
        for begins, ends in ((self.note("after"), 10), (Deferred, 11)):
            self.gateway = self.make(after=begins, write=Deferred)
            self.start()
            stopped = self.stop()
            self.pass_time(ends - 0.1)
            self.assertEqual(stopped, [])
            self.pass_time(0.2)
            self.assertEqual(stopped, [None])

    def test_what_is_written_after_the_process_stood_still(self) -> None:
        """It is not given up at once."""
        written: Deferred[None] = Deferred()
        self.gateway = self.make(write=lambda: written)
        self.start()
        stopped = self.stop()
        self.clock.advance(100)
        self.pass_time(0.5)
        self.assertEqual(stopped, [])
        written.callback(None)
        self.assertEqual(stopped, [None])

    def test_one_fault_does_not_keep_the_others(self) -> None:
        """It is logged; all other clients get a Close frame, and the end comes in time."""
        wires = self.open(3)
        victim = next(iter(self.gate.registry))
        shut_down = Connection.shut_down

        def faulty(connection: Connection) -> None:
            if connection is victim:
                raise ZeroDivisionError
            shut_down(connection)

        self.patch(Connection, "shut_down", faulty)
        stopped = self.stop()
        self.pass_time(0.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(sum(bool(wire.value()) for wire in wires), 2)
        self.pass_time(10)
        self.assertEqual((stopped, self.clock.open), ([None], []))
