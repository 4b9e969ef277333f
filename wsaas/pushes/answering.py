"""What all resources of pushes have in common: they answer by value, count their answers, and show them at DEBUG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qsl

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from wsaas.connections.messages import Close, checked_close
from wsaas.errors import PushRefused
from wsaas.net.http1.messages import FAULT, RequestHead, Response, head_of, json_response

#: The answer to a request, or a Deferred of it.
Answer = Response | Deferred[Response]

_log = Logger()


def refusal(error: PushRefused) -> Response:
    """:returns: the answer to a request that has no effect"""
    return json_response(error.status, error.code, error.message, error.headers, error.retry_after)


def bad_request(why: str) -> PushRefused:
    """:returns: a refusal that says what is wrong with the request"""
    return PushRefused(400, "BAD_REQUEST", why)


def not_found() -> PushRefused:
    """:returns: the refusal of whatever is about a connection that nobody finds"""
    return PushRefused(404, "NOT_FOUND", "there is no such connection, or it is closing")


def rfc3339(seconds: float) -> str:
    """:returns: a time of day, from Unix seconds"""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_query(head: RequestHead, names: Sequence[str]) -> dict[str, str]:
    """Read the parameters of a request.

    :param names: those that there may be, each once
    :raises PushRefused: if there are others
    """
    query = head.target.partition(b"?")[2]
    try:
        fields = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict")
        given = [name for name, _ in fields]
        if len(set(given)) != len(given) or not set(given) <= set(names):
            only = f"the only parameters are {' and '.join(names)}, each once"
            raise ValueError(only if names else "this request has no parameters")
    except ValueError as error:
        raise bad_request(_sentence(error)) from None
    return dict(fields)


def read_close(head: RequestHead) -> Close:
    """Read the parameters of a DELETE that closes.

    :raises PushRefused: if they are no close code and reason
    """
    given = read_query(head, ("code", "reason"))
    try:
        return checked_close(given.get("code", "1000"), given.get("reason", ""))
    except ValueError as error:
        raise bad_request(_sentence(error)) from None


def _sentence(error: ValueError) -> str:
    return "the query is not UTF-8, percent-encoded" if isinstance(error, UnicodeError) else str(error)


class AnsweringResource(Resource):
    """A resource that answers whole requests by value, whatever server they came through.

    :param methods: for which answers are counted each by itself
    :param seconds: the clock, if each request is logged, at DEBUG: a line that is filtered out would cost too much
    """

    isLeaf = True

    def __init__(self, methods: Sequence[bytes], seconds: Callable[[], float] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._seconds = seconds
        #: How many were answered with which status, by method.
        self.answers = {method: defaultdict[int, int](int) for method in (*methods, b"other")}
        self._others = self.answers[b"other"]
        #: How many were refused before all of their body was there, by status.
        self.unheard: defaultdict[int, int] = defaultdict(int)

    def check(self, head: RequestHead) -> object:
        """Check a request by its head.

        :raises PushRefused: if it cannot succeed
        """
        raise NotImplementedError

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """:returns: the answer to a request, judged before or not"""
        raise NotImplementedError

    def show(self, head: RequestHead, size: int, response: Response, seconds: float) -> None:
        """Log a request and what came of it; neither its headers nor its body.

        :param size: bytes of its body
        :param seconds: how long it took
        """
        raise NotImplementedError

    def judge(self, head: RequestHead) -> Response | None:
        """Refuse by the head a request whose body need not be read for that."""
        try:
            self.check(head)
        except PushRefused as error:
            response = self._counted(head.method, refusal(error))
            if self._seconds is not None:
                self.show(head, 0, response, 0.0)
            return response
        return None

    def missed(self, head: RequestHead, response: Response) -> None:
        """Count a request whose body was refused while it came."""
        self.unheard[response.status] += 1
        if self._seconds is not None:
            self.show(head, 0, response, 0.0)

    def _counted(self, method: bytes, response: Response) -> Response:
        self.answers.get(method, self._others)[response.status] += 1
        return response

    def _later(self, answer: Deferred[Response], head: RequestHead, size: int, began: float) -> Deferred[Response]:
        """Count and show an answer once it is known."""
        answer.addCallback(partial(self._counted, head.method))
        if self._seconds is not None:
            answer.addCallback(self._shown, head, size, began)
        return answer

    def _shown(self, response: Response, head: RequestHead, size: int, began: float) -> Response:
        assert self._seconds is not None  # noqa: S101 - for the type checker
        self.show(head, size, response, self._seconds() - began)
        return response

    def render(self, request: Request) -> int:
        """Answer a request that came through any server of twisted.web's."""
        content = request.content
        assert content is not None  # noqa: S101 - for the type checker
        answer = self.respond(head_of(request), content.read())
        if isinstance(answer, Response):
            answer.write_to(request)
        else:
            _answer_later(request, answer)
        return NOT_DONE_YET


def _answer_later(request: Request, answer: Deferred[Response]) -> None:
    """Answer a request once its answer is known, if the pusher is still there."""
    content = request.content
    assert content is not None  # noqa: S101 - for the type checker
    # It may take half a minute, and the message is sent.
    content.truncate(0)

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("a fault of the gateway", failure)
            FAULT.write_to(request)

    request.notifyFinish().addErrback(lambda _: answer.cancel())
    answer.addCallback(lambda response: response.write_to(request)).addErrback(failed)
