"""The demo's web page: static files and the stream of HTTP exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from wsaas.demo.traffic import Traffic, TrafficStream
from wsaas.net.http1.messages import text_response

#: All content comes from the gateway itself. In some browsers ``'self'`` does not include ``ws:`` to the same host.
_POLICY: Final = (
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFile(Resource):
    """A file of this package, read once.

    :param name: of the file; its suffix determines the media type
    """

    isLeaf = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self._data = files(__package__).joinpath(name).read_bytes()
        self._type = _TYPES[name[name.rindex(".") :]]

    def render_HEAD(self, request: Request) -> bytes:
        """Answer HEAD: the same without the file, which twisted.web would throw away and log."""
        self.render_GET(request)
        return b""

    def render_GET(self, request: Request) -> bytes:
        """Answer GET.

        :param request: the request
        :returns: the file
        """
        request.setHeader("Content-Type", self._type)
        request.setHeader("Content-Security-Policy", _POLICY)
        request.setHeader("X-Content-Type-Options", "nosniff")
        request.setHeader("Referrer-Policy", "no-referrer")
        request.setHeader("Cache-Control", "no-cache")
        request.setHeader("Content-Length", str(len(self._data)))
        return self._data


class _Nothing(Resource):
    """The answer 404."""

    isLeaf = True

    def render(self, request: Request) -> int:
        text_response(404, "the demo has nothing here").write_to(request)
        return NOT_DONE_YET


class _Folder(Resource):
    """A folder with fixed children; everything else is 404."""

    def __init__(self, children: Mapping[bytes, Resource]) -> None:
        super().__init__()
        for name, child in children.items():
            self.putChild(name, child)

    def getChild(self, path: bytes, request: Request) -> IResource:  # noqa: ARG002 - Twisted's signature
        return _Nothing()

    def render(self, request: Request) -> int:
        return _Nothing().render(request)


def demo_pages(traffic: Traffic) -> IResource:
    """Make the resources of the demo's page.

    :param traffic: the exchanges that the page shows
    :returns: the root, with ``/``, the files that the page loads from ``/demo/``, and ``/demo/traffic``
    """
    demo: dict[bytes, Resource] = {
        name.encode("ascii"): StaticFile(name) for name in ("page.css", "page.js", "icon.svg")
    }
    demo[b"traffic"] = TrafficStream(traffic)
    return _Folder({b"": StaticFile("page.html"), b"demo": _Folder(demo)})
