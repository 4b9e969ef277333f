"""``POST base/batch``, carried out: line by line, in parts between which others have their turn (protocol §6.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from wsaas.connections.connection import Connection
from wsaas.connections.messages import Message, Publication, Reached
from wsaas.connections.registry import Registry
from wsaas.errors import NotPresentError, OverloadedError, PushRefused, TooSlowError
from wsaas.groups.home import Home
from wsaas.groups.repeats import whole_key
from wsaas.net.http1.messages import Response, json_response
from wsaas.pushes.answering import refusal
from wsaas.pushes.batch import MAX_ELEMENTS, MAX_LINES, Line, LineRefused, is_for_too_many, read_line, split_lines
from wsaas.pushes.pace import Pace
from wsaas.pushes.publish import counts

#: What a line counts for besides its elements, and how many bytes of it count 1.
_LINE, _BYTES = 4, 256
#: How many elements of a line are worked off at once.
_PART = 50
#: Stands for the targets of a line among the tags of connections.
_TARGETS = ""

_TOO_MANY = refusal(
    PushRefused(
        413, "MESSAGE_TOO_LONG", f"a batch has at most {MAX_LINES} lines, each for at most {MAX_ELEMENTS} elements"
    )
)
_WITHOUT_RESULTS = json_response(200, "OK", results=[])
_OVERLOADED = {"code": "OVERLOADED", "message": "nothing was sent; there is no room for it now"}


def _push(connection: Connection, message: Message) -> Deferred[Reached]:
    return succeed(Reached(sent=1) if connection.outbox.push(message) else Reached(held=1))


class Batches:
    """Carries batches out.

    :param registry: finds connections by their keys
    :param home: the groups
    :param pace: shared by all batches
    :param max_message: bytes of the longest message
    """

    def __init__(self, registry: Registry, home: Home, pace: Pace, max_message: int) -> None:
        self._registry = registry
        self._home = home
        self._pace = pace
        self._max_message = max_message

    def begin(self, body: bytes, key: bytes | None) -> Deferred[Response]:
        """Carry a batch out.

        :param key: its ``Idempotency-Key``
        :returns: fires with the answer; cancelling it does not end the batch
        """
        return Deferred.fromCoroutine(self._run(body, key))

    async def _run(self, body: bytes, key: bytes | None) -> Response:
        lines = split_lines(body)
        if len(lines) > MAX_LINES:
            return _TOO_MANY
        for line in lines:
            await self._pace.spend(len(line) // _BYTES)
            if is_for_too_many(line):
                return _TOO_MANY
        results = []
        for number, line in enumerate(lines, 1):
            await self._pace.spend(_LINE + len(line) // _BYTES)
            # As text at once: all of them together would take the loop for a while.
            results.append(json.dumps(await self._carry_out(number, line, key), ensure_ascii=False))
        whole = '{"code": "OK", "results": [' + ", ".join(results) + "]}\n"
        return replace(_WITHOUT_RESULTS, body=whole.encode("utf-8", "replace"))

    async def _carry_out(self, number: int, text: bytes, key: bytes | None) -> dict[str, Any]:
        """:returns: what became of a line"""
        try:
            line = read_line(text, self._max_message)
        except LineRefused as error:
            return {"code": error.code, "message": error.message}
        failed: dict[str, str] = {}
        met = self._find(line, failed)
        keys = {} if key is None else _keys(key, number, line, met)
        if keys and not self._home.repeats.has_room(keys.values()):
            return _OVERLOADED
        reached, publishing = Reached(), None
        try:
            if line.targets:
                publishing = self._publish(line, met, keys.get(_TARGETS))
            for part in _parts(met):
                await self._pace.spend(len(part))
                await self._push_to(part, line, keys, reached, failed)
            if publishing is not None:
                reached.add(await publishing)
        except OverloadedError:
            return _OVERLOADED
        return {"code": "OK", **counts(reached), **({"failed": failed} if failed else {})}

    def _find(self, line: Line, failed: dict[str, str]) -> dict[Connection, str]:
        """:returns: the connections that are named by key, each once, and what was given for them"""
        met: dict[Connection, str] = {}
        for given, key in line.keys.items():
            connection = self._registry.get(key)
            if connection is None:
                failed[given] = "NOT_FOUND"
            else:
                met.setdefault(connection, given)
        return met

    def _publish(self, line: Line, met: Iterable[Connection], key: bytes | None) -> Deferred[Reached]:
        """Publish to the members of a line's targets, but for those that are named by key.

        :raises OverloadedError: if there is no room: then nothing of the line is sent
        """
        aside = frozenset(connection.identity.tag for connection in met)
        return self._home.publish(Publication(line.targets, line.message, line.left_out, line.skips_slow, key, aside))

    async def _push_to(
        self,
        part: list[tuple[Connection, str]],
        line: Line,
        keys: dict[str, bytes],
        reached: Reached,
        failed: dict[str, str],
    ) -> None:
        """Push to connections that are named by key: without room one is failed, not closed (protocol §3)."""
        for connection, given in part:
            tag = connection.identity.tag
            if tag in line.left_out:
                reached.left_out += 1
                continue
            push = partial(_push, connection, line.message)
            try:
                reached.add(await self._home.repeats.once(keys[tag], push) if keys else await push())
            except NotPresentError:
                failed[given] = "NOT_FOUND"
            except (TooSlowError, OverloadedError):
                # The latter if others took the room meanwhile in which its key would be remembered.
                failed[given] = "TOO_SLOW"


def _keys(key: bytes, number: int, line: Line, met: Iterable[Connection]) -> dict[str, bytes]:
    """:returns: under which keys what a line asks for is remembered: for its targets, and for single connections by tag

    :param key: the ``Idempotency-Key`` of the batch
    :param number: of the line
    :param met: the connections that are named by key
    """
    keys = {each.identity.tag: whole_key(key, each.identity.tag, number) for each in met}
    if line.targets:
        keys[_TARGETS] = whole_key(key, " ".join([*line.targets, *line.keys]), number)
    return keys


def _parts(met: dict[Connection, str]) -> Iterator[list[tuple[Connection, str]]]:
    items = list(met.items())
    for at in range(0, len(items), _PART):
        yield items[at : at + _PART]
