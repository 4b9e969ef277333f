"""The gateway's pushes with a witness: whoever makes one, be it the chat API, the page or curl, the pages show it."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.python.failure import Failure

from wsaas.connections.registry import Registry
from wsaas.demo.traffic import Exchange, HeaderList, Traffic
from wsaas.errors import PushRefused
from wsaas.net.http1.messages import RequestHead, Response
from wsaas.pushes.resource import Answer, PushResource, refusal


class RecordedPushes(PushResource):
    """The ``ws_uri`` of every connection; each push and its answer are recorded.

    :param registry: finds connections by their keys
    :param max_message: bytes of the longest message
    :param traffic: the record
    """

    def __init__(self, registry: Registry, max_message: int, traffic: Traffic) -> None:
        super().__init__(registry, max_message)
        self._traffic = traffic

    def judge(self, head: RequestHead) -> Response | None:
        """Check a request by its head; a refusal is all that there will be of it."""
        response = super().judge(head)
        if response is not None:
            self._record(head, b"", response)
        return response

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """Carry out a push. An answer that comes later is recorded then."""
        try:
            answer = super().respond(head, body)
        except PushRefused as error:
            self._record(head, body, refusal(error))
            raise
        if isinstance(answer, Response):
            self._record(head, body, answer)
            return answer
        exchange = self._begin(head, body)

        def answered(response: Response) -> Response:
            self._answered(exchange, response)
            return response

        def failed(failure: Failure) -> Failure:
            self._traffic.failed(exchange, "the pusher left before the answer")
            return failure

        return answer.addCallbacks(answered, failed)

    def _record(self, head: RequestHead, body: bytes, response: Response) -> None:
        self._answered(self._begin(head, body), response)

    def _begin(self, head: RequestHead, body: bytes) -> Exchange:
        sent = [(name, value) for name, values in head.headers.getAllRawHeaders() for value in values]
        return self._traffic.begin(
            "push", head.method.decode("latin-1"), head.target.decode("latin-1"), _text(sent), body
        )

    def _answered(self, exchange: Exchange, response: Response) -> None:
        self._traffic.answered(exchange, response.status, _text(response.headers), response.body)


def _text(headers: Iterable[tuple[bytes, bytes]]) -> HeaderList:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
