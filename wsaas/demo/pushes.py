"""The gateway's pushes with a witness: whoever makes one, be it the page or curl, the pages show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.python.failure import Failure

from wsaas.connections.registry import Registry
from wsaas.demo.traffic import Exchange, HeaderList, Traffic
from wsaas.net.http1.messages import RequestHead, Response
from wsaas.pushes.answering import Answer, AnsweringResource
from wsaas.pushes.named import NamedResource
from wsaas.pushes.resource import PushResource


class _Recorded(AnsweringResource):
    """A resource whose requests and answers are recorded.

    :ivar traffic: the record, set by who makes the resource
    """

    traffic: Traffic

    def judge(self, head: RequestHead) -> Response | None:
        """Refuse a request by its head; that is all that there will be of it."""
        response = super().judge(head)
        if response is not None:
            self._answered(self._begin(head, b""), response)
        return response

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """Answer a push. An answer that comes later is recorded then."""
        answer = super().respond(head, body)
        exchange = self._begin(head, body)
        if isinstance(answer, Response):
            return self._answered(exchange, answer)

        def failed(failure: Failure) -> Failure:
            self.traffic.failed(exchange, "the pusher left before the answer")
            return failure

        return answer.addCallbacks(lambda response: self._answered(exchange, response), failed)

    def _begin(self, head: RequestHead, body: bytes) -> Exchange:
        sent = [(name, value) for name, values in head.fields.headers.getAllRawHeaders() for value in values]
        return self.traffic.begin(
            "push", head.method.decode("latin-1"), head.target.decode("latin-1"), _text(sent), body
        )

    def _answered(self, exchange: Exchange, response: Response) -> Response:
        self.traffic.answered(exchange, response.status, _text(response.fields), response.body)
        return response


class RecordedPushes(_Recorded, PushResource):
    """The ``ws_uri`` of every connection; each push and its answer are recorded.

    :param registry: finds connections by their keys
    :param max_message: bytes of the longest message
    :param traffic: the record
    :param seconds: as for :class:`~wsaas.pushes.resource.PushResource`
    """

    def __init__(
        self, registry: Registry, max_message: int, traffic: Traffic, seconds: Callable[[], float] | None = None
    ) -> None:
        super().__init__(registry, max_message, seconds=seconds)
        self.traffic = traffic


class RecordedNamed(_Recorded, NamedResource):
    """Groups, users, everyone, batches; each request and its answer are recorded."""


def _text(headers: Iterable[tuple[bytes, bytes]]) -> HeaderList:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
