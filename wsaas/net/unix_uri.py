"""URIs of an HTTP server on a UNIX socket: ``unix:/run/api.sock:/path?query``."""

from __future__ import annotations

from typing import NamedTuple

_SCHEME = "unix:"
#: The most bytes of a socket's path (``unix(7)``: 108, of which the last is NUL).
_MAX_PATH = 107
_FORM = "it is written unix:/run/api.sock:/path"


class UnixUri(NamedTuple):
    """A URI taken apart.

    :param socket: the path of the socket's file
    :param target: path and query of what is asked for there
    """

    socket: str
    target: str


def is_unix(uri: str) -> bool:
    """:returns: whether something is, or was meant to be, the URI of a server on a UNIX socket"""
    return uri[: len(_SCHEME)].lower() == _SCHEME


def split_unix(uri: str) -> UnixUri:
    """Take a URI apart: the first colon behind the scheme is the end of the socket's path.

    :raises ValueError: if it is none of a UNIX socket
    """
    if not is_unix(uri):
        raise ValueError("it does not begin with unix:")
    # A colon in the query is none between the two.
    place, mark, query = uri[len(_SCHEME) :].partition("?")
    socket, colon, path = place.partition(":")
    if socket.startswith("//"):
        raise ValueError(f"there are two slashes behind unix: {_FORM}")
    if not socket.startswith("/"):
        raise ValueError(f"the socket's path does not begin with /: {_FORM}")
    if socket.endswith("/"):
        raise ValueError("the socket's path is that of a folder")
    if len(socket) > _MAX_PATH:
        raise ValueError(f"the socket's path has {len(socket)} characters, and no system takes more than {_MAX_PATH}")
    if mark and not colon:
        raise ValueError(f"a query needs a path before it: unix:{socket}:/?…")
    if colon and not path.startswith("/"):
        raise ValueError(f"what is behind the socket's path does not begin with /: {_FORM}")
    return UnixUri(socket, (path or "/") + mark + query)


def as_http(uri: str) -> str:
    """:returns: an ``http`` URI with the path and query of one of a UNIX socket; any other as it is

    What is behind a socket takes itself for this machine, as it does with curl and nginx: ``Host`` is ``localhost``.
    """
    return f"http://localhost{split_unix(uri).target}" if is_unix(uri) else uri
