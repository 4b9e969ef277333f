"""``Ws-Except``: connections that do not get what is published (protocol §6.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wsaas.groups.names import elements

#: How many connections one publish may leave out.
MAX_LEFT_OUT = 64

#: A tag, or what ``Ws-Id`` makes of it: ``<tag>-0``, ``<tag>-end``. A key hardly ever has a dash behind 22 characters.
_ID = re.compile(r"([A-Za-z0-9_-]{22})(?:-[A-Za-z0-9]*)?")


def check_left_out(ids: Iterable[str]) -> frozenset[str]:
    """Read a list of connections.

    :param ids: tags, or values of ``Ws-Id``, of which the first 22 characters count
    :returns: their tags
    :raises ValueError: saying what is wrong, without repeating what may be a key
    """
    tags = set()
    count = 0
    for text in ids:
        found = _ID.fullmatch(text)
        if found is None:
            raise ValueError("one of those to leave out is neither a Ws-Id nor a tag")
        tags.add(found[1])
        count += 1
    if count > MAX_LEFT_OUT:
        raise ValueError(f"at most {MAX_LEFT_OUT} connections can be left out")
    return frozenset(tags)


def read_left_out(values: Sequence[str]) -> frozenset[str]:
    """Read ``Ws-Except``.

    :param values: of the header, one for each line it stands in
    :returns: the tags of those to leave out
    :raises ValueError: saying what is wrong
    """
    return check_left_out(elements(values))
