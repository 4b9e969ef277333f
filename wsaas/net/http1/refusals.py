"""A line of log for each request that got no further than HTTP, or than TLS, with its cause.

Pushes have none: who answers them counts them (:meth:`.Answers.missed`).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from wsaas.logs import LeanLogger, shown_path
from wsaas.net.http1.messages import RequestHead, Response

#: Names of groups and users, which stand in no line above DEBUG: a back end may ask at the wrong place.
_NAMES = re.compile(r"(?<=/)(groups|users)/[^/]+")
#: How TLS begins (RFC 8446 §5.1).
_TLS = b"\x16\x03"


@lru_cache(maxsize=32)
def said(body: bytes) -> str:
    """:returns: the sentence in the body of a refusal: of text, or of JSON"""
    text = body.decode("utf-8", "replace").strip()
    return str(json.loads(text).get("message", text)) if text.startswith("{") else text


def _without_names(target: bytes) -> str:
    return _NAMES.sub(r"\1/…", shown_path(target))


class Refusals:
    """Writes those lines."""

    _log = LeanLogger()

    def request(self, response: Response, client: str | None, head: RequestHead | None, data: bytes) -> None:
        """A request was refused by its head, or before it had one.

        :param client: its IP address
        :param head: what was read of it
        :param data: the beginning of what was not
        """
        reason = "TLS on a port without" if head is None and data.startswith(_TLS) else said(response.body)
        self._log.info(
            "- refused with {status}: {client}{what}: {reason}",
            status=int(response.status),
            client=client or "unix",
            what="" if head is None else f" {head.method.decode('ascii')[:20]} {_without_names(head.target)}",
            reason=reason,
            many="refused requests",
        )

    def tls(self, client: str | None, reason: str) -> None:
        """There was no TLS, so not even a request."""
        self._log.info(
            "- refused: {client}: {reason} (TLS)", client=client or "unix", reason=reason, many="refused TLS handshakes"
        )


#: For all connections.
REFUSALS = Refusals()
