"""What proxies in front say of a client: ``X-Forwarded-For`` and ``X-Forwarded-Proto`` (``TRUST_PROXY``, protocol §5).

Each proxy adds at the right end who connected to it, so that the last ``TRUST_PROXY`` entries are those of trusted
proxies, and the first of these names the client. What stands before them may be the client's own invention, and is not
even looked at.
"""

from __future__ import annotations

import re

from wsaas.net.http1.messages import RequestHead, plain_address

#: An IP address; some proxies add the port, with brackets around an IPv6 address then.
_ENTRY = re.compile(rb"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
_SECURE = {b"https": True, b"wss": True, b"http": False, b"ws": False}


def read_entry(entry: bytes) -> str | None:
    """:returns: the address in an entry of ``X-Forwarded-For``; :data:`None` if there is none, as in ``unknown``"""
    match = _ENTRY.fullmatch(entry.strip(b" \t"))
    return None if match is None else plain_address((match[1] or match[2] or match[3]).decode("ascii"))


def _trusted(proxies: int, values: list[bytes]) -> list[bytes]:
    """:returns: the entries that trusted proxies wrote, that of the nearest last

    An empty entry is one too: were it skipped, one of the client's would move into its place.
    """
    return b",".join(values).rsplit(b",", proxies)[-proxies:]


def believed(proxies: int, head: RequestHead) -> tuple[str | None, bool]:
    """Tell who a client is and how it came.

    Where the entry of the outermost trusted proxy is missing or says nothing, the next one towards the gateway counts,
    and in the end the socket: always a hop of which somebody trusted told, never one before it.

    :param proxies: how many in front are trusted, at least 1
    :param head: as it came, ``client`` and ``secure`` being the socket's
    :returns: its IP address, if it has one, and whether it came over TLS
    """
    client, secure = head.client, head.secure
    for entry in _trusted(proxies, head.all(b"X-Forwarded-For")):
        address = read_entry(entry)
        if address is not None:
            client = address
            break
    for entry in _trusted(proxies, head.all(b"X-Forwarded-Proto")):
        said = _SECURE.get(entry.strip(b" \t").lower())
        if said is not None:
            secure = said
            break
    return client, secure
