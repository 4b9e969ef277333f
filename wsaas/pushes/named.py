"""Requests by name: groups, users, everyone, batches, and the groups of one connection (protocol §6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connections.connection import Connection
from wsaas.connections.idempotency import read_key
from wsaas.connections.identity import is_key, tag_of
from wsaas.connections.registry import Registry
from wsaas.errors import OverloadedError, PushRefused, TooManyGroupsError
from wsaas.groups.home import Home
from wsaas.limits import OVERHEAD, Budget
from wsaas.logs import shown_path, without_keys
from wsaas.net.http1.messages import RequestHead, Response
from wsaas.net.http1.refusals import said
from wsaas.pushes import members, publish
from wsaas.pushes.answering import Answer, AnsweringResource, bad_request, not_found, read_close, read_query, refusal
from wsaas.pushes.batches import Batches
from wsaas.pushes.pace import Pace
from wsaas.pushes.paths import Form, Path, read_path
from wsaas.pushes.publish import ok, overloaded
from wsaas.pushes.resource import METHODS, method_not_allowed, unauthorized
from wsaas.pushes.settings import PushSettings
from wsaas.pushes.tokens import CHALLENGE, PushTokens

#: What is done once a request's body is there.
Action = Callable[[bytes], Answer]

_GET, _HEAD, _PUT, _DELETE, _POST = b"GET", b"HEAD", b"PUT", b"DELETE", b"POST"
_ALL_OF_THEM = (*METHODS, _POST)
#: Which methods there are, by what the path is about.
_METHODS: dict[Form, tuple[bytes, ...]] = {
    Form.CONNECTION_GROUPS: (_DELETE,),
    Form.CONNECTION_GROUP: (_PUT, _DELETE),
    Form.GROUP: METHODS,
    Form.USER: METHODS,
    Form.ALL: (_GET, _HEAD, _PUT),
    Form.GROUP_MEMBERS: (_GET, _HEAD, _DELETE),
    Form.USER_MEMBERS: (_GET, _HEAD),
    Form.ALL_MEMBERS: (_GET, _HEAD),
    Form.USER_GROUP: (_PUT, _DELETE),
    Form.BATCH: (_POST,),
}
#: Seconds between two lines that name the setting without which there is nothing by name.
_EVERY = 60.0
_REFUSED = 400


class NamedResource(AnsweringResource):
    """Everything behind ``base/`` but a ``ws_uri`` itself.

    :param registry: finds connections by their keys
    :param home: the groups
    :param tokens: of which each request needs one
    :param settings: the bounds of a request
    :param clock: for turns and times
    :param bodies: the budget of bodies, in which that of a batch counts until it is carried out
    """

    _log = Logger()

    def __init__(
        self,
        registry: Registry,
        home: Home,
        tokens: PushTokens,
        settings: PushSettings,
        clock: IReactorTime,
        bodies: Budget,
    ) -> None:
        super().__init__(_ALL_OF_THEM, clock.seconds if settings.shows else None)
        self._registry = registry
        self._home = home
        self._tokens = tokens
        self._settings = settings
        self._clock = clock
        self._bodies = bodies
        self._batches = Batches(registry, home, Pace(clock), settings.max_message)
        self._told_at: float | None = None

    # What there is

    def exists(self, method: bytes, path: Path) -> bool:
        """Tell whether there is such a request at all.

        :returns: without ``PUBLISH_TOKEN``, only whether it is about what one connection leaves
        """
        if self._tokens.can_publish:
            return True
        return path.form is Form.CONNECTION_GROUPS or (path.form is Form.CONNECTION_GROUP and method != _PUT)

    def tell_missing(self) -> None:
        """Name the setting without which there is no such request, once a minute."""
        now = self._clock.seconds()
        if self._told_at is None or now - self._told_at >= _EVERY:
            self._told_at = now
            self._log.info("a request by name was refused, as there are none without PUBLISH_TOKEN")

    def too_long(self) -> Response:
        """:returns: the answer to a batch that is too long"""
        return refusal(self._too_long(Form.BATCH))

    @property
    def max_batch(self) -> int:
        """Bytes of the longest batch."""
        return self._settings.max_batch

    @classmethod
    def tell_fault(cls, failure: Failure) -> None:
        """Log a fault of which nobody else is told."""
        cls._log.failure("a fault of the gateway", failure)

    # Whether it may be done

    def check(self, head: RequestHead) -> Action:
        """Check a request in the order of protocol §6.2: method, token, name or key, length, type, headers.

        :returns: carries it out
        :raises PushRefused: if it cannot succeed
        """
        path, method = read_path(head.target), head.method
        if path.form not in _METHODS:
            raise self._absent(head)
        if not self.exists(method, path):
            self.tell_missing()
            raise self._absent(head)
        self._admit(head, path)
        if path.strays:
            raise bad_request("no WS_HOSTNAME has what stands before that; is a name not percent-encoded?")
        if head.method == _DELETE and path.form not in (Form.GROUP, Form.USER):
            # Who gives a close code must not have a group emptied instead.
            read_query(head, ())
        try:
            if path.is_of_connection:
                return self._of_connection(head, path)
            if path.form is Form.USER_GROUP:
                return self._of_user(head, path)
            if path.form is Form.BATCH:
                return self._of_batch(head)
            return self._of_target(head, path)
        except ValueError as error:
            raise bad_request(str(error)) from None

    def _absent(self, head: RequestHead) -> PushRefused:
        """:returns: what is said of a ``ws_uri`` that is none (protocol §3)"""
        if head.method not in METHODS:
            return method_not_allowed("a ws_uri", METHODS)
        return not_found() if self._tokens.allow(head.all(b"Authorization")) else unauthorized()

    def _admit(self, head: RequestHead, path: Path) -> None:
        allowed = _METHODS[path.form]
        if head.method not in allowed:
            raise method_not_allowed(f"…/{path.form.value}", allowed)
        authorization = head.all(b"Authorization")
        if path.is_of_connection and head.method != _PUT:
            # To leave takes no more than to push.
            if not self._tokens.allow(authorization):
                raise unauthorized()
        elif not self._tokens.allow_by_name(authorization):
            why = "what is by name needs Authorization: Bearer, with one of PUBLISH_TOKEN"
            raise PushRefused(401, "UNAUTHORIZED", why, [CHALLENGE])

    def _too_long(self, form: Form) -> PushRefused:
        if form is Form.BATCH:
            why = f"a batch may have {self._settings.max_batch} bytes (PUSH_MAX_BATCH)"
        else:
            why = f"a message may have {self._settings.max_message} bytes (WS_MAX_MESSAGE)"
        return PushRefused(413, "MESSAGE_TOO_LONG", why)

    def _check_length(self, head: RequestHead, form: Form) -> None:
        longest = self._settings.max_batch if form is Form.BATCH else self._settings.max_message
        if head.length is not None and head.length > longest:
            raise self._too_long(form)

    # What is done, by what the path is about

    def _of_connection(self, head: RequestHead, path: Path) -> Action:
        connection = self._registry.get(path.first)
        if connection is None:
            raise not_found()
        names = None if path.form is Form.CONNECTION_GROUPS else (path.group,)
        self._check_length(head, path.form)
        if head.method == _PUT:
            assert names is not None  # noqa: S101 - for the type checker
            return lambda _: self._join(connection, names)
        return lambda _: ok(left=self._home.leave(connection, names))

    def _join(self, connection: Connection, names: tuple[str, ...]) -> Response:
        if connection.outbox.shut:
            # It began to close while the body came.
            raise not_found()
        try:
            return ok(joined=self._home.join(connection, names))
        except TooManyGroupsError:
            why = "this connection is in as many groups as it may (WS_MAX_GROUPS)"
            raise PushRefused(409, "TOO_MANY_GROUPS", why) from None
        except OverloadedError:
            raise overloaded("there are as many memberships as this process may hold") from None

    def _of_user(self, head: RequestHead, path: Path) -> Action:
        act = members.join_user if head.method == _PUT else members.leave_user
        user, group = path.user, path.group
        self._check_length(head, path.form)
        return lambda _: act(self._home, user, group)

    def _of_target(self, head: RequestHead, path: Path) -> Action:
        home, target, method = self._home, path.target, head.method
        lists = path.form in (Form.GROUP_MEMBERS, Form.USER_MEMBERS, Form.ALL_MEMBERS)
        self._check_length(head, path.form)
        if method == _PUT:
            return partial(publish.publish, home, target, publish.read_asked(head.fields))
        if method == _DELETE:
            if lists:
                return lambda _: members.empty(home, target)
            close, left_out = read_close(head), publish.read_except(head.fields)
            return lambda _: members.close_members(home, target, close, left_out)
        if lists:
            wanted = members.Wanted(head)
            return lambda _: members.list_members(home, target, wanted)
        return lambda _: ok(members=home.count(target))

    def _of_batch(self, head: RequestHead) -> Action:
        self._check_length(head, Form.BATCH)
        key = read_key(head.all(b"Idempotency-Key"))
        if head.fields.tokens(b"Content-Encoding"):
            raise PushRefused(415, "UNSUPPORTED", "send the batch without Content-Encoding")
        return partial(self._begin_batch, key)

    def _begin_batch(self, key: bytes | None, body: bytes) -> Deferred[Response]:
        if len(body) > self._settings.max_batch:
            raise self._too_long(Form.BATCH)
        bodies = self._bodies
        if bodies.exhausted:
            raise overloaded()
        size = len(body) + OVERHEAD
        bodies.used += size

        def done(result: Response | Failure) -> Response | Failure:
            bodies.used -= size
            return result

        return self._batches.begin(body, key).addBoth(done)

    # Answers

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """Answer a request: the only place where one is carried out.

        :param head: the request's head, judged before or not
        :param body: its whole body
        :returns: the answer, be it a refusal, or a Deferred of it; cancelling that ends nothing that has begun
        """
        began = 0.0 if self._seconds is None else self._seconds()
        try:
            answer = self.check(head)(body)
        except PushRefused as error:
            answer = refusal(error)
        except OverloadedError:
            answer = refusal(overloaded())
        if isinstance(answer, Response):
            self._counted(head.method, answer)
            return answer if self._seconds is None else self._shown(answer, head, len(body), began)
        waiting: Deferred[Response] = Deferred()
        answer.addErrback(_no_room)
        # Also if nobody waits any more.
        self._later(answer, head, len(body), began).addBoth(_settle, waiting)
        return waiting

    def is_trusted(self, head: RequestHead) -> bool:
        """:returns: whether a request brought a token"""
        authorization, tokens = head.all(b"Authorization"), self._tokens
        return tokens.allow_by_name(authorization) or (tokens.asked_for and tokens.allow(authorization))

    def show(self, head: RequestHead, size: int, response: Response, seconds: float) -> None:
        """Log a request and what came of it: one line, at DEBUG. Names of groups and users are in it, keys are not."""
        path, status = read_path(head.target), int(response.status)
        is_keyed = path.is_of_connection and is_key(path.first)
        text = ""
        if status >= _REFUSED:
            # It may repeat a name.
            text = without_keys(said(response.body))
        elif head.method in (_PUT, _DELETE):
            # Not of listings, which may have keys in them.
            text = response.body.decode("utf-8").strip()
        self._log.debug(
            "{what} {method}: {status} in {milliseconds} ms, {received} bytes in, {sent} back{why}",
            what=f"{tag_of(path.first)} groups" if is_keyed else shown_path(head.target),
            method=head.method.decode("ascii")[:20],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            received=size,
            sent=len(response.body),
            why=text and f": {text}",
            many="refused pushes" if status >= _REFUSED else None,
        )


def _no_room(failure: Failure) -> Response:
    failure.trap(OverloadedError)
    return refusal(overloaded("not all could be done; there is no room for it now"))


def _settle(result: Response | Failure, waiting: Deferred[Response]) -> None:
    if isinstance(result, Failure):
        if waiting.called:
            # Whoever asked has left, and is not told; the log is.
            NamedResource.tell_fault(result)
        else:
            waiting.errback(result)
    else:
        waiting.callback(result)
