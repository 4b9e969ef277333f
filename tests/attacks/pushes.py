"""Requests of those who want to push, and may not: what the modules about pushes have in common."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.attacks.attack import AttackTestCase, any_of, statuses_in
from tests.wire import Fields, Reply, Wire

#: What a push says where it does harm; the bystander would see it.
EVIL = b"evil"


def request(line: str, fields: Fields = (), body: bytes = b"", *, end: str = "\r\n") -> bytes:
    """:returns: a request as it stands there: nothing is said of a body that the fields do not say

    :param line: the request line
    :param end: of each line
    """
    lines = [line, "Host: gateway.example", *(f"{name}: {value}" for name, value in fields)]
    return "".join(f"{each}{end}" for each in [*lines, ""]).encode("latin-1") + body


class PushAttackTestCase(AttackTestCase):
    """Attacks on the bystander through requests to its ``ws_uri``, of which the attacker knows more or less."""

    #: The port that is attacked; that of the ``ws_uri`` if it is 0.
    pushes_at = 0

    @property
    def key(self) -> str:
        """The bystander's key."""
        return self._bystanders_uri.rpartition("/")[2]

    def put(self, fields: Fields = (), body: bytes = EVIL, *, method: str = "PUT", target: str | None = None) -> bytes:
        """:returns: a push to the bystander, or to another target, with its length"""
        line = f"{method} {target or '/' + self.key} HTTP/1.1"
        return request(line, [*fields, ("Content-Length", str(len(body)))], body)

    async def pusher(self) -> Wire:
        """:returns: a connection to where pushes are taken"""
        return await self.dial(self.pushes_at or urlsplit(self._bystanders_uri).port)

    async def answers(self, *requests: bytes) -> list[Reply]:
        """Send requests, each on a connection of its own.

        :returns: the answers, of which each request has one
        """
        got = []
        for each in requests:
            wire = await self.pusher()
            wire.send(each)
            got.append(await wire.reply(head_only=each.startswith(b"HEAD ")))
            self.assertEqual(wire.received, b"", each[:300])
            wire.drop()
        return got

    async def told_each(self, *requests: bytes) -> str:
        """As :meth:`answers`.

        :returns: the statuses, each once
        """
        return self.statuses(*await self.answers(*requests))

    async def told_once(self, *requests: bytes) -> str:
        """Send requests, each on a connection of its own; the gateway has to answer each once, and close.

        :returns: the statuses, each once
        """
        got = []
        for each in requests:
            wire = await self.pusher()
            wire.send(each)
            got.append(await wire.end())
            self.assertEqual(got[-1].count(b"HTTP/1.1 "), 1, (each[:300], got[-1]))
        return any_of(*map(statuses_in, got))
