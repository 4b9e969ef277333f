"""Headers of a publish, whether a request asks for it or an answer (protocol §6): ``Ws-Except``, ``Ws-Slow``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wsaas.connections.messages import SELF
from wsaas.groups.names import elements

#: How many connections a publish may leave out.
MAX_LEFT_OUT = 64

_TAG = 22
#: A tag, or a ``Ws-Id``, which begins with one.
_TAGGED = re.compile(r"[A-Za-z0-9_-]{22}(?:-[a-z0-9]*)?")


def read_left_out(values: Sequence[str], *, itself: bool = False) -> frozenset[str]:
    """Read ``Ws-Except``.

    :param values: one for each line
    :param itself: whether ``self`` may stand there, for the connection whose callback is answered
    :returns: tags; :data:`.SELF` for ``self``
    :raises ValueError: saying what is wrong
    """
    given = list(elements(values))
    if len(given) > MAX_LEFT_OUT:
        raise ValueError(f"Ws-Except names more than {MAX_LEFT_OUT} connections")
    found = set()
    for element in given:
        if itself and element == SELF:
            found.add(SELF)
        elif _TAGGED.fullmatch(element):
            found.add(element[:_TAG])
        else:
            raise ValueError("Ws-Except is a list of tags, or of what stands in Ws-Id")
    return frozenset(found)


def read_slow(values: Sequence[str]) -> bool:
    """Read ``Ws-Slow``.

    :param values: one for each line
    :returns: whether members without room are passed over
    :raises ValueError: saying what is wrong
    """
    if list(values) not in ([], ["close"], ["skip"]):
        raise ValueError("Ws-Slow is close or skip, once")
    return list(values) == ["skip"]
