"""What can be done to all members of a target, besides publishing: values that can travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from wsaas.connections.messages import Close


@dataclass(frozen=True, slots=True)
class CloseAll:
    """Close every member of a target, after what was published before.

    :param target: ``groups/<name>`` or ``users/<name>``
    :param close: what each is told
    :param left_out: the tags of those that stay
    """

    target: str
    close: Close
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LeaveAll:
    """Have members of a target leave a group; nobody is closed.

    :param target: the group itself, to empty it; or a user, whose connections leave it
    :param group: the name of the group, not encoded
    """

    target: str
    group: str


@dataclass(frozen=True, slots=True)
class JoinAll:
    """Have the present connections of a user join a group.

    :param target: ``users/<name>``
    :param group: the name of the group, not encoded
    """

    target: str
    group: str


@dataclass(slots=True)
class Moved:
    """What became of joining or leaving. It can be added up.

    :param joined: those to whom the group is new
    :param left: those who were in it
    :param full: those who are in as many groups as they may
    """

    joined: int = 0
    left: int = 0
    full: int = 0
