"""
Some clients, an API, pushers and time do what they like to a whole gateway in memory: what has to hold of the API's
ledger holds (protocol §2.1).

:mod:`tests.unit.connections` does so with one connection and inspects its state; here everything between the
bytes of the client and the requests to the API takes part, and connections compete for slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived

from bench.faults.balance import compare
from bench.faults.clients import LOST
from bench.faults.ledger import Ledger
from tests.gate import (
    CLOSE,
    CONTINUATION,
    TEXT,
    ApiCall,
    Gate,
    Wire,
    close_payload,
    frame,
    handshake_request,
    http_request,
)
from tests.properties import run_courses
from wsaas.connections.identity import new_identity

MOST_CLIENTS = 4
SLOTS = 3
MILLISECONDS = 1000
API_TIMEOUT, WS_TIMEOUT, RETRY_FOR = 2.0, 8.0, 5.0
#: Seconds after which everything is over once the API is well: the longest pause between two DELETEs, and some.
LONG_ENOUGH = 400
#: Codes with which the gateway may end a connection here, and TCP's end.
ENDS = (1001, 1008, 1011, 1013, 4000, LOST)


@dataclass(eq=False)
class Guest:
    """A client and what it knows."""

    path: str
    wire: Wire
    sent: int = 0
    code: int | None = None
    closed_by_us: bool = False
    granted: bool = False
    got: bytes = b""

    @property
    def speaking(self) -> bool:
        """Whether it may send frames."""
        return self.granted and not self.closed_by_us and self.code is None and not self.wire.over

    def read(self) -> None:
        """Take what came: an answer to the handshake, then frames, and nothing behind a Close frame."""
        self.got += self.wire.take()
        if not self.granted:
            head, end, rest = self.got.partition(b"\r\n\r\n")
            if not end or not head.startswith(b"HTTP/1.1 101"):
                return
            self.granted, self.got = True, rest
        while len(self.got) >= 2:
            length = self.got[1]
            assert length < 126, "no message here is as long"
            if len(self.got) < 2 + length:
                break
            assert self.code is None or self.closed_by_us, "a frame after the Close frame"
            if self.got[0] & 15 == CLOSE:
                self.code = self.code or int.from_bytes(self.got[2:4])
            self.got = self.got[2 + length :]


class WholeGateway(RuleBasedStateMachine):
    """A gateway between clients and an API that do what they like."""

    @initialize(lifetime=st.integers(0, 25))
    def begin(self, lifetime: int) -> None:
        """Start without connections.

        :param lifetime: how many events there are before any that ends a connection; else most would end at once
        """
        self.gate = Gate(
            None,
            API_TIMEOUT=str(int(API_TIMEOUT * MILLISECONDS)),
            API_RETRY_FOR=str(int(RETRY_FOR * MILLISECONDS)),
            API_MAX_REQUESTS=str(SLOTS),
            WS_TIMEOUT=str(int(WS_TIMEOUT * MILLISECONDS)),
            WS_MAX_MESSAGE="1000",
            WS_MAX_BUFFER="2000",
        )
        self.remaining = lifetime
        self.ledger = Ledger()
        self.guests: list[Guest] = []
        #: Calls that the API got or may have got, in order.
        self.pending: list[ApiCall] = []
        self.gate.agent.react = self._called

    # What the API sees

    def _called(self, call: ApiCall) -> None:
        self._see_cancelled()
        # A cancelled call is over; else there is one at a time.
        assert call.header("Ws-Uri") not in [other.header("Ws-Uri") for other in self.pending]
        self.pending.append(call)

    def _see_cancelled(self) -> None:
        """Calls that the gateway gave up came all the same, and were not answered."""
        for call in [call for call in self.pending if call.cancelled]:
            self.pending.remove(call)
            self._see(call)

    def _see(self, call: ApiCall, status: int | None = None) -> None:
        """Put a call into the ledger.

        :param status: what it is answered with; :data:`None`: with nothing
        """
        uri, path = call.header("Ws-Uri") or "", call.header("Ws-Path") or ""
        number = (call.header("Ws-Id") or "").rpartition("-")[2]
        if call.method == "POST":
            account = self.ledger.post(uri, number, path)
            if status == 200:
                self.ledger.grant(account)
            elif status is not None and status < 500:
                self.ledger.refuse(account)
        elif call.method == "PUT":
            account = self.ledger.put(uri, number, path, call.body or b"")
            if status in (200, 401, 404, 500):
                self.ledger.settle(account, number)
        else:
            names = ("Ws-Close-Code", "Ws-Closed-By", "Ws-Undelivered")
            end = {name.lower(): value for name in names if (value := call.header(name)) is not None}
            self.ledger.delete(uri, number, path, end)

    def _answer(self, call: ApiCall, status: int, *headers: tuple[str, str]) -> None:
        self.pending.remove(call)
        self._see(call, status)
        call.answer(status, b'{"code": "OK"}', *headers)

    @property
    def ending(self) -> bool:
        """Whether it is time for what ends connections."""
        return self.remaining <= 0

    # Clients

    @precondition(lambda self: len(self.guests) < MOST_CLIENTS)
    @rule()
    def come(self) -> None:
        """A client asks to connect."""
        path = f"/guest/{len(self.guests)}"
        wire = self.gate.connect()
        self.guests.append(Guest(path, wire))
        wire.deliver(handshake_request(path))

    @precondition(lambda self: any(guest.speaking for guest in self.guests))
    @rule(data=st.data(), count=st.sampled_from([1, 1, 2, 80]), slices=st.sampled_from([0, 0, 3]))
    def send(self, data: st.DataObject, count: int, slices: int) -> None:
        """Numbered messages, whole or in fragments that come in slices."""
        guest = data.draw(st.sampled_from([guest for guest in self.guests if guest.speaking]))
        for _ in range(count):
            guest.sent += 1
            payload = b"%d:" % guest.sent
            if slices:
                stream = frame(TEXT, payload[:1], fin=False) + frame(CONTINUATION, payload[1:])
                for start in range(0, len(stream), slices):
                    guest.wire.deliver(stream[start : start + slices])
            else:
                guest.wire.deliver(frame(TEXT, payload))

    @precondition(lambda self: self.ending and any(guest.speaking for guest in self.guests))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """A Close frame."""
        guest = data.draw(st.sampled_from([guest for guest in self.guests if guest.speaking]))
        guest.closed_by_us, guest.code = True, 1000
        guest.wire.deliver(frame(CLOSE, close_payload(1000)))

    @precondition(lambda self: any(guest.code and not guest.wire.over for guest in self.guests))
    @rule(data=st.data())
    def answer_close(self, data: st.DataObject) -> None:
        """The answer to the gateway's Close frame, or the end of TCP after it."""
        guest = data.draw(st.sampled_from([guest for guest in self.guests if guest.code and not guest.wire.over]))
        if guest.closed_by_us:
            guest.wire.end()
        else:
            guest.wire.deliver(frame(CLOSE, close_payload(guest.code or 0)))

    @precondition(lambda self: self.ending and any(not guest.wire.over for guest in self.guests))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """TCP ends, at any time."""
        guest = data.draw(st.sampled_from([guest for guest in self.guests if not guest.wire.over]))
        guest.closed_by_us, guest.code = True, guest.code or LOST
        guest.wire.end()

    # The API

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), status=st.sampled_from([200, 200, 200, 200, 403, 404, 500, 503]))
    def answer(self, data: st.DataObject, status: int) -> None:
        """A call is answered."""
        call = data.draw(st.sampled_from(self.pending))
        if not self.ending and call.method == "POST":
            status = 200
        if status == 403 and call.method != "POST":
            status = 404
        reply = [("Ws-Reply", "text")] if call.method == "PUT" and status == 200 else []
        self._answer(call, status, *reply)

    @precondition(lambda self: self.pending)
    @rule(count=st.integers(1, 10))
    def answer_well(self, count: int) -> None:
        """Calls are answered with OK, those that follow too."""
        for _ in range(count):
            if self.pending:
                self._answer(self.pending[0], 200)

    @precondition(lambda self: self.ending and self.pending)
    @rule(data=st.data())
    def answer_with_close(self, data: st.DataObject) -> None:
        """A call is answered with what ends the connection: a Close, or 401."""
        call = data.draw(st.sampled_from(self.pending))
        if call.method == "PUT" and data.draw(st.booleans()):
            self._answer(call, 401)
        else:
            self._answer(call, 200, ("Ws-Close", "4000 go"))

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), arrived=st.booleans(), times=st.sampled_from([1, 1, 5]))
    def fail(self, data: st.DataObject, arrived: bool, times: int) -> None:
        """The API cannot be reached, or hangs up without an answer."""
        for _ in range(times):
            calls = [call for call in self.pending if self.ending or call.method != "POST"]
            if not calls:
                return
            call = data.draw(st.sampled_from(calls))
            self.pending.remove(call)
            if arrived:
                self._see(call)
                call.fail(ResponseNeverReceived([Failure(ConnectionLost())]))
            else:
                call.fail(ConnectError())
            # Meanwhile others may run out of time.
            self.gate.clock.advance(0.2)
            self._see_cancelled()

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), closing=st.booleans())
    def push(self, data: st.DataObject, closing: bool) -> None:
        """A push to one of them, or a DELETE of its ws_uri."""
        number = data.draw(st.integers(1, len(self.guests)))
        key = new_identity(self.gate.settings.hostname, lambda count: number.to_bytes(count, "big")).key
        wire = self.gate.connect(self.gate.push_site)
        if closing and self.ending:
            wire.deliver(http_request("DELETE", f"/{key}?code=4000", None))
        else:
            wire.deliver(http_request("PUT", f"/{key}", b"pushed"))
        self.gate.turn()
        wire.end()

    # Time, and the end

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 9.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._pass(seconds if self.ending else min(seconds, 0.1))

    def _pass(self, seconds: float) -> None:
        self.gate.clock.advance(seconds)
        now = self.gate.clock.seconds()
        for connection in self.gate.totals.due.take(now, 100):
            connection.check(now)

    @precondition(lambda self: self.remaining < -10)
    @rule()
    def shut_down(self) -> None:
        """The process is told to stop."""
        for connection in self.gate.registry:
            connection.shut_down()

    # What has to hold

    @invariant()
    def look(self) -> None:
        """After each step: clients read; the ledger has nothing to complain about; slots are not overdrawn."""
        self.remaining -= 1
        self.gate.turn()
        self._see_cancelled()
        for guest in self.guests:
            guest.read()
        for account in self.ledger.accounts.values():
            assert not account.problems, account
        assert len(self.pending) <= SLOTS

    def teardown(self) -> None:
        """The API is well from now on, and all clients go. Then everything balances."""
        if not hasattr(self, "gate"):
            return
        for guest in self.guests:
            if not guest.wire.over:
                guest.closed_by_us, guest.code = True, guest.code or LOST
                guest.wire.end()
        for _ in range(LONG_ENOUGH):
            while self.pending:
                self._answer(self.pending[0], 200)
            if not self.gate.totals.pending.number:
                break
            self._pass(1.0)
            self._see_cancelled()
        self.gate.turn()
        assert not self.pending
        assert not self.gate.totals.pending.number
        for guest in self.guests:
            guest.read()
            guest.code = guest.code or LOST
        granted = [guest for guest in self.guests if guest.granted]
        problems = compare(list(self.ledger.accounts.values()), granted, may_end=ENDS)
        assert not problems, problems
        assert self.gate.slots.held == 0
        self.gate.clock.advance(2 * WS_TIMEOUT)
        left = [call for call in self.gate.clock.getDelayedCalls() if call.active()]
        assert not left, left


class GatewayPropertiesTests(SynchronousTestCase):
    """Any order of events."""

    def test_the_ledger_balances(self) -> None:
        """Whatever clients, API, pushers and time do."""
        run_courses(WholeGateway, 100, 50)
