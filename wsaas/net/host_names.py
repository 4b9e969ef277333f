"""Names of hosts: which ones can be called, and connecting to those that Twisted takes for malformed."""

from __future__ import annotations

import re

from twisted.internet.endpoints import HostnameEndpoint

#: A label of a name. Underscores are in no name of the public DNS, and in many of Docker Compose and Active Directory.
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_LONGEST_LABEL, _LONGEST_NAME = 63, 253


def check_name(name: str) -> None:
    """Check that a name can be looked up (RFC 1035 §2.3.4, RFC 1123 §2.1), underscores included.

    :raises ValueError: says which rule it breaks
    """
    labels = name.removesuffix(".").split(".")
    if "" in labels:
        raise ValueError("a part of the host name is empty")
    for label in labels:
        if len(label) > _LONGEST_LABEL:
            raise ValueError(f"a part of the host name is over {_LONGEST_LABEL} characters")
        if not _LABEL.fullmatch(label):
            raise ValueError("the host name has only letters, digits, dashes within its parts, underscores, and dots")
    if len(name.removesuffix(".")) > _LONGEST_NAME:
        raise ValueError(f"the host name is over {_LONGEST_NAME} characters")


class NamedEndpoint(HostnameEndpoint):
    """Connects to a host by any name that :func:`check_name` takes.

    Twisted fails each connection to a name that is not IDNA 2008, as ``my_api``, though the resolver may know it.
    """

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host if isinstance(host, str) else host.decode("ascii")
        return False, text.encode("ascii"), text
