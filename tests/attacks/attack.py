"""One attack on a running gateway: a row of the table, and the bystander whom it must not touch."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from itertools import groupby
from typing import Any, TypeVar

from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from tests.contract.case import ContractTestCase
from tests.recording_api import OK, Call
from tests.wire import PONG, TEXT, Fields, Reply, Wire, frame
from wsaas.logs import LogLimit

T = TypeVar("T")
#: What the table says where the API was not called.
NOTHING = "nothing"


@dataclass(frozen=True)
class Attack:
    """A row of the table; its words are reStructuredText.

    :param name: what the attacker is after
    :param sent: what was sent
    :param answer: what came back. Not only said: it is what the test has to return
    :param api: what the API was told of the attacker's connections. It is compared too
    """

    name: str
    sent: str
    answer: str
    api: str


def statuses_in(received: bytes) -> list[str]:
    """:returns: the statuses of all answers in what came back"""
    return [status.decode() for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", received)]


def any_of(*answers: Iterable[str]) -> str:
    """:returns: what stands in any of these, each once, as the table says it"""
    return " or ".join(sorted(set().union(*answers)))


def attack(
    name: str, *, sent: str, answer: str, api: str = NOTHING
) -> Callable[[Callable[[Any], Awaitable[str]]], Callable[[Any], Awaitable[None]]]:
    """Make a method that returns what came back a test, and a row of the table: see :class:`Attack`."""
    row = Attack(name, sent, answer, api)

    def decorated(method: Callable[[Any], Awaitable[str]]) -> Callable[[Any], Awaitable[None]]:
        @wraps(method)
        async def test(self: Any) -> None:
            self.assertEqual(await method(self), row.answer)
            await self.check_nothing_lost(row)

        test.attack = row  # type: ignore[attr-defined]  # the table finds it there
        return test

    return decorated


class AttackTestCase(ContractTestCase):
    """Attacks on one face of the gateway. Each test starts the gateway itself, with the settings that it is about.

    Beside the attacker there is a bystander, connected before the attack. After it, the bystander's messages, the
    replies to them and pushes go through as before, every connection that the API let in has had exactly one DELETE and
    no other has, the calls of each are numbered without a gap, nothing was logged as an error, and the log did not grow
    by more than a line or two for each of the attacker's connections. The gateway is stopped then, and what it told the
    API has to be the same: nothing came late.
    """

    #: The heading of these rows.
    title = ""
    #: The formats of what has to be logged as an error, by whomever.
    expected_errors: tuple[str, ...] = ()
    #: Lines of ``INFO`` and above that an attack may cause beside those two for each connection.
    log_lines = 2

    def setUp(self) -> None:
        """Start the API; echoes to the bystander, if the test does not script otherwise."""
        super().setUp()
        self.wires: list[Wire] = []
        self.bystander: Wire | None = None
        self._bystanders_uri = ""
        self._logged_before = 0
        #: What a push has to say of itself: the ``PUSH_TOKEN``.
        self.push_fields: Fields = ()

    async def begin(self, **settings: str) -> None:
        """Start the gateway, and connect a plain client as the bystander."""
        await self.serve(**settings)
        await self.stand_by(*await self.connected("/bystander"))

    async def stand_by(self, client: Wire, ws_uri: str) -> None:
        """Have a client be the bystander, and see that it is served. It shows that it lives, as ``WS_TIMEOUT`` asks."""
        self.bystander, self._bystanders_uri = client, ws_uri
        pulse = LoopingCall(client.send, frame(PONG))
        pulse.start(0.04)
        self.addCleanup(pulse.stop)
        await self.check_bystander("before")
        self._logged_before = len(self.lines())

    def lines(self) -> list[str]:
        """:returns: what the gateway logged at ``INFO`` or above, as far as the log takes it"""
        kept: list[str] = []

        @implementer(ILogObserver)
        def keep(event: LogEvent) -> None:
            if event["log_namespace"].startswith("wsaas") and event["log_level"] >= LogLevel.info:
                kept.append(str(event["log_format"]))

        limit = LogLimit(keep)
        for event in self._log.events:
            if "log_time" in event:
                limit(event)
        return kept

    def errors(self) -> tuple[str, ...]:
        """:returns: what was logged at ``ERROR`` or above, by the gateway or what it stands on"""
        return tuple(
            str(event["log_format"])
            for event in self._log.events
            if event.get("log_level", LogLevel.debug) >= LogLevel.error
        )

    async def dial(self, *arguments: Any, **more: Any) -> Wire:
        wire = await super().dial(*arguments, **more)
        self.wires.append(wire)
        return wire

    def dial_narrow(self, *arguments: Any, **more: Any) -> Wire:
        wire = super().dial_narrow(*arguments, **more)
        self.wires.append(wire)
        return wire

    # What a test returns

    @staticmethod
    def statuses(*replies: Reply) -> str:
        """:returns: the statuses of replies, each once"""
        return " or ".join(sorted({str(reply.status) for reply in replies}))

    async def each(self, expected: Mapping[str, Iterable[T]], attempt: Callable[[T], Awaitable[str]]) -> str:
        """Make attempts one by one: of those that are answered differently, each has to be answered in its own way.

        :param expected: the attempts for each answer
        :param attempt: makes one of them, and returns what came back
        :returns: the answers, each once
        """
        for answer, attempts in expected.items():
            for one in attempts:
                self.assertEqual(await attempt(one), answer, one)
        return " or ".join(sorted(expected))

    async def shaken(self, *requests: bytes) -> str:
        """Send requests, each on a connection of its own.

        :returns: the statuses of the answers
        """
        return self.statuses(*[await self.shake(request) for request in requests])

    async def sent_frames(self, *attempts: bytes, headers: Fields = ()) -> str:
        """Send bytes after a handshake, each on a connection of its own.

        :param headers: more fields of the handshakes
        :returns: ``close`` and the codes of the gateway's Close frames
        """
        clients = []
        for data in attempts:
            clients.append(await self.connect(headers=headers))
            clients[-1].send(data)
        codes = {(await client.closed()).code for client in clients}
        for client in clients:
            await client.end()
        return " or ".join(f"close {code}" for code in sorted(codes, key=str))

    # What must hold after it

    async def check_bystander(self, when: str) -> None:
        """A message, its reply, and a push."""
        client = self.bystander
        assert client is not None, "a test without a bystander"
        before, self.api.script["PUT"] = self.api.script["PUT"], self._echo
        client.send(frame(TEXT, f"said {when}".encode()))
        self.assertEqual((await client.frame()).payload, f"said {when}".encode())
        headers = [("Content-Type", "text/plain"), *self.push_fields]
        reply = await self.push("PUT", self._bystanders_uri, b"pushed", headers)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual((await client.frame()).payload, b"pushed")
        self.api.script["PUT"] = before

    def _echo(self, call: Call) -> None:
        if call.ws_uri == self._bystanders_uri:
            call.answer(200, call.body, [("Ws-Reply", "text")])
        else:
            call.answer()

    def is_owed(self, ws_uri: str) -> bool:
        """:returns: whether a DELETE is owed after the answer to the last POST (protocol §2.1)"""
        post = self.of_method("POST", ws_uri)[-1]
        if post.status is None:
            return True
        if 200 <= post.status < 300:
            return post.said == OK
        return not 400 <= post.status < 500

    async def check_nothing_lost(self, row: Attack) -> None:
        """All that :class:`AttackTestCase` promises."""
        await self.check_bystander("after")
        for wire in self.wires:
            if wire is not self.bystander and not wire.ended:
                wire.drop()

        def all_over() -> bool:
            return all(self._is_settled(uri) for uri in self._attacked())

        await self.api.until(all_over, "the DELETE of each connection")
        self.assertEqual(self.told(self._attacked()), row.api)
        for uri in self._attacked():
            self._check_numbers(self.api.of(uri))
        caused = self.lines()[self._logged_before :]
        self.assertLessEqual(len(caused), 2 * len(self.wires) + self.log_lines, "\n".join(caused))
        await self._check_nothing_late(row)

    async def _check_nothing_late(self, row: Attack) -> None:
        """What was so far is all that the API is ever told: a DELETE too many would come while the gateway stops."""
        assert self.bystander is not None
        self.bystander.drop()
        await self.api.until(lambda: self._is_settled(self._bystanders_uri), "the bystander's DELETE")
        await self.stop_gateway()
        uris = self._attacked()
        self.assertEqual([uri for uri in (*uris, self._bystanders_uri) if not self._is_settled(uri)], [])
        self.assertEqual(self.told(uris), row.api)
        self.assertEqual(self.errors(), self.expected_errors)

    def _attacked(self) -> set[str]:
        return {call.ws_uri for call in self.api.calls} - {self._bystanders_uri}

    def _is_settled(self, ws_uri: str) -> bool:
        """:returns: whether a connection has had its DELETE, if one is owed, and no other"""
        return len(self.of_method("DELETE", ws_uri)) == self.is_owed(ws_uri)

    def of_method(self, method: str, ws_uri: str) -> list[Call]:
        """:returns: the calls of one method about one connection"""
        return [call for call in self.api.of(ws_uri) if call.method == method]

    def _check_numbers(self, calls: list[Call]) -> None:
        ids = [str(call.header("Ws-Id")).rpartition("-")[2] for call in calls]
        distinct = [number for number, _ in groupby(ids)]
        self.assertEqual(distinct[:-1], [str(number) for number in range(len(distinct) - 1)])
        self.assertIn(distinct[-1], ("end", str(len(distinct) - 1)))

    def told(self, ws_uris: set[str]) -> str:
        """:returns: what the API was told of connections, as the table says it: each kind of life once"""
        lives = set()
        for uri in ws_uris:
            words = [
                f"DELETE {call.header('Ws-Close-Code')}" if call.method == "DELETE" else call.method
                for call in self.api.of(uri)
            ]
            lives.add(", ".join(word for word, _ in groupby(words)))
        return "; ".join(sorted(lives)) or NOTHING
