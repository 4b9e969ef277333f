"""``PUT base/<target>``: one message to every member (protocol §6.3 and §6.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from wsaas.connections.idempotency import read_key
from wsaas.connections.messages import Message, Publication, Reached
from wsaas.errors import PushRefused
from wsaas.groups.home import Home
from wsaas.groups.left_out import read_left_out
from wsaas.groups.repeats import whole_key
from wsaas.net.http1.messages import RequestFields, Response, json_response
from wsaas.pushes.answering import bad_request
from wsaas.pushes.resource import not_utf_8, read_binary


@dataclass(frozen=True, slots=True)
class Asked:
    """What the header lines of a publish ask for.

    :param binary: whether the message is binary
    :param key: its ``Idempotency-Key``
    :param left_out: the tags of those that do not get it
    :param skips_slow: whether those without room are passed over
    """

    binary: bool
    key: bytes | None
    left_out: frozenset[str]
    skips_slow: bool


def overloaded(why: str = "nothing was sent; there is no room for it now") -> PushRefused:
    """:returns: a refusal that is worth another try"""
    return PushRefused(503, "OVERLOADED", why, retry_after=1)


def ok(**more: Any) -> Response:
    """:returns: an answer with what was found or done"""
    return json_response(200, "OK", **more)


def counts(reached: Reached) -> dict[str, int]:
    """:returns: the counts of a publish, as answers have them"""
    return {
        "members": reached.members,
        "sent": reached.sent,
        "held": reached.held,
        "skipped": reached.skipped,
        "closed": reached.closed,
        "except": reached.left_out,
    }


def read_except(fields: RequestFields) -> frozenset[str]:
    """Read ``Ws-Except``.

    :raises PushRefused: if it is malformed
    """
    try:
        return read_left_out([value.decode("latin-1") for value in fields.all(b"Ws-Except")])
    except ValueError as error:
        raise bad_request(f"Ws-Except: {error}") from None


def read_slow(values: list[str]) -> bool:
    """Read ``Ws-Slow``.

    :returns: whether members without room are passed over
    :raises PushRefused: if it is malformed
    """
    if values in ([], ["close"]):
        return False
    if values != ["skip"]:
        raise bad_request("Ws-Slow is close or skip")
    return True


def read_asked(fields: RequestFields) -> Asked:
    """Read what a publish asks for.

    :raises PushRefused: if it cannot be had
    """
    binary = read_binary(fields)
    if fields.all(b"Ws-Confirm"):
        raise bad_request("Ws-Confirm is for one connection: a publish waits for nobody's pong")
    slow = read_slow([value.decode("latin-1") for value in fields.all(b"Ws-Slow")])
    return Asked(binary, read_key(fields.all(b"Idempotency-Key")), read_except(fields), slow)


def publish(home: Home, target: str, asked: Asked, body: bytes) -> Deferred[Response]:
    """Publish one message to a target.

    :raises PushRefused: if the text is none
    :raises OverloadedError: if there is no room
    """
    if not asked.binary:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise not_utf_8() from None
    key = None if asked.key is None else whole_key(asked.key, target)
    publication = Publication((target,), Message(body, asked.binary), asked.left_out, asked.skips_slow, key)
    return home.publish(publication).addCallback(lambda reached: ok(**counts(reached)))
