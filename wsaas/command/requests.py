"""``wsaas push`` and ``wsaas publish``: one request, and its answer on the terminal."""

from __future__ import annotations

import json
from typing import Any, TextIO
from urllib.parse import urlsplit

import treq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from wsaas.command.words import Message

#: Seconds for the whole of it; with Ws-Confirm a gateway answers within half a minute.
_PATIENCE = 60.0


@implementer(IBodyProducer)
class _Body:
    """A request's body. treq's own producer would write it by way of the global reactor.

    :param content: all of it
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self.content)
        return succeed(None)

    def stopProducing(self) -> None:
        """No-op: nothing is left to stop, to pause or to resume."""

    pauseProducing = resumeProducing = stopProducing


def _said(status: int, body: bytes) -> str:
    """:returns: why a gateway refuses, in a line; another server is not quoted"""
    try:
        answer = json.loads(body)
        return f"{status} {answer['code']}: {answer['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{status}, which is no answer of a gateway's"


async def send(agent: IAgent, clock: Any, message: Message, out: TextIO, errors: TextIO) -> int:
    """Send a message.

    :param agent: sends the request
    :param clock: for the time limit
    :param out: where the answer is written
    :param errors: where it is said why a message was refused
    :returns: the exit status: 0 if the gateway took it
    """
    kind = b"application/octet-stream" if message.binary else b"text/plain; charset=utf-8"
    headers = Headers({b"Content-Type": [kind]})
    if message.token is not None:
        headers.setRawHeaders(b"Authorization", [b"Bearer " + message.token])
    try:
        # An Agent follows no redirects: there is a token in it.
        asked = agent.request(b"PUT", message.url.encode("ascii"), headers, _Body(message.body))
        response = await asked.addTimeout(_PATIENCE, clock)
        body = await treq.content(response).addTimeout(_PATIENCE, clock)
    except TookTooLong:
        errors.write(f"wsaas: {_place(message.url)} does not answer\n")
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said
        reasons = getattr(error, "reasons", None) or [error]
        why = "; ".join(dict.fromkeys(str(getattr(each, "value", each)) for each in reasons))
        errors.write(f"wsaas: no answer from {_place(message.url)}: {why or type(error).__name__}\n")
        return 1
    out.write(body.decode("utf-8", "replace").rstrip("\n") + "\n")
    if response.code // 100 == 2:
        return 0
    errors.write(f"wsaas: {_said(response.code, body)}\n")
    return 1


def _place(url: str) -> str:
    """:returns: host and port, as the path of a ``ws_uri`` is a secret"""
    return urlsplit(url).netloc.rpartition("@")[2]
