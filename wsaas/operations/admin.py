"""The admin pages of ``ADMIN_LISTEN``: ``/healthz``, ``/readyz`` and ``/metrics``; and one page beside the clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from wsaas.net.http1.messages import RequestHead, Response, head_of, json_response, text_response
from wsaas.net.http1.route import Page, Route
from wsaas.net.http1.site import ClientSite, SiteLimits

#: Tells what is wrong, in a few words without internals; :data:`None` if nothing is.
Check = Callable[[], str | None]

#: Seconds for a request's head.
HEAD_TIMEOUT = 10.0
_ALLOW = (b"Allow", b"GET, HEAD")
_NO_METRICS = json_response(
    501, "NO_METRICS", "metrics need one more package, and a restart: pip install prometheus_client"
)
#: Strangers read these: they are not told what is wrong.
_READY = text_response(200, "OK")
_NOT_READY = text_response(503, "no new connections are taken")


class Pages(Protocol):
    """Writes the metrics page: :class:`wsaas.operations.metrics.Metrics`."""

    def page(self, accept: str) -> tuple[str, bytes]:
        """:returns: an accepted media type, and the page"""


class Readiness:
    """Whether the gateway accepts new connections.

    Each part that may know a reason why not adds a check; each request of ``/readyz`` makes all checks.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Add a check.

        :param name: one word that names what is wrong, for programs
        :param check: tells what is wrong, if anything
        """
        self._checks[name] = check

    def failing(self) -> dict[str, str]:
        """:returns: what is wrong, by name; a check that raises an exception counts as wrong"""
        found = {}
        for name, check in self._checks.items():
            try:
                said = check()
            except Exception:  # noqa: BLE001 - whatever it is, this part is not known to work
                self._log.failure("a fault of the gateway: {name} cannot be checked", name=name)
                said = "cannot be checked"
            if said is not None:
                found[name] = said
        return found


class Health:
    """Tells load balancers whether new connections are taken, where clients connect (``WS_HEALTH_PATH``).

    :param readiness: knows
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def judge(self, head: RequestHead) -> Response | None:  # noqa: ARG002 - the interface's signature
        """:returns: nothing: whoever asks is answered"""
        return None

    def respond(self, head: RequestHead, body: bytes) -> Response:  # noqa: ARG002 - as above
        """:returns: 200 or 503"""
        return _NOT_READY if self._readiness.failing() else _READY

    def missed(self, head: RequestHead, response: Response) -> None:
        """Nothing to count: a check has no body."""

    def is_trusted(self, head: RequestHead) -> bool:  # noqa: ARG002 - as above
        """:returns: false: anybody may ask"""
        return False


class AdminResource(Resource):
    """Serves the three admin pages.

    :param readiness: for ``/readyz``
    :param metrics: for ``/metrics``; :data:`None` if what writes them is not installed
    """

    isLeaf = True

    def __init__(self, readiness: Readiness, metrics: Pages | None) -> None:
        super().__init__()
        self._readiness = readiness
        self._metrics = metrics
        self._pages = {b"/healthz": self._health, b"/readyz": self._ready, b"/metrics": self._measured}

    def decide(self, head: RequestHead) -> Route:
        """Check a request by its head."""
        if head.path not in self._pages:
            return json_response(404, "NOT_FOUND", "there is nothing here")
        if head.method not in (b"GET", b"HEAD"):
            return json_response(405, "METHOD_NOT_ALLOWED", "these pages take GET and HEAD", [_ALLOW])
        if head.length != 0:
            return json_response(400, "BAD_REQUEST", "a request for a page has no body")
        return Page(self)

    def render(self, request: Request) -> int:
        """Answer with a page."""
        head = head_of(request)
        self._pages[head.path](head).write_to(request)
        return NOT_DONE_YET

    def _health(self, _: RequestHead) -> Response:
        """The process answers, so it is alive."""
        return json_response(200, "OK")

    def _ready(self, _: RequestHead) -> Response:
        failing = self._readiness.failing()
        if not failing:
            return json_response(200, "OK")
        said = "; ".join(failing.values())
        return json_response(503, "NOT_READY", f"no new connections are taken: {said}", failing=failing)

    def _measured(self, head: RequestHead) -> Response:
        if self._metrics is None:
            return _NO_METRICS
        accept = b", ".join(head.all(b"Accept")).decode("latin-1")
        media_type, page = self._metrics.page(accept)
        return Response(200, ((b"Content-Type", media_type.encode("ascii")), (b"Cache-Control", b"no-store")), page)


def admin_site(readiness: Readiness, metrics: Pages | None, reactor: IReactorTime) -> ClientSite:
    """:returns: the site of ``ADMIN_LISTEN``

    :param reactor: for timeouts
    """
    return ClientSite(AdminResource(readiness, metrics), reactor, SiteLimits(HEAD_TIMEOUT, 0))
