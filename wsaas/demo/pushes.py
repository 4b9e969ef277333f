"""The gateway's pushes with a witness: whoever makes one, be it the chat API, the page or curl, the pages show it."""

from __future__ import annotations

from collections.abc import Iterable

from wsaas.demo.traffic import HeaderList, Traffic
from wsaas.errors import PushRefused
from wsaas.exchange import RequestHead, Response, json_response
from wsaas.push import PushResource
from wsaas.registry import Registry


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
        refusal = super().judge(head)
        if refusal is not None:
            self._record(head, b"", refusal)
        return refusal

    def respond(self, head: RequestHead, body: bytes) -> Response:
        """Carry out a push."""
        try:
            response = super().respond(head, body)
        except PushRefused as error:
            self._record(head, body, json_response(error.status, error.code, error.message, error.headers))
            raise
        self._record(head, body, response)
        return response

    def _record(self, head: RequestHead, body: bytes, response: Response) -> None:
        sent = [(name, value) for name, values in head.headers.getAllRawHeaders() for value in values]
        exchange = self._traffic.begin(
            "push", head.method.decode("latin-1"), head.target.decode("latin-1"), _text(sent), body
        )
        self._traffic.answered(exchange, response.status, _text(response.headers), response.body)


def _text(headers: Iterable[tuple[bytes, bytes]]) -> HeaderList:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
