"""What a request is about, by its path, which is read from its end (protocol §6.2).

::

    <key>    <key>/groups    <key>/groups/<g>
    groups/<g>    users/<u>    all    each of them with /members    users/<u>/groups/<g>    batch

What stands before them is the operator's ``WS_HOSTNAME``, and not compared. The longest form that matches counts, so a
key is one only where no longer form matches: names may have a key's shape. No two forms of the same length match the
same path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from wsaas.connections.identity import KEY_LENGTH, is_key
from wsaas.groups import names

_GROUPS, _USERS, _ALL, _MEMBERS, _BATCH = "groups", "users", "all", "members", "batch"
_NAMED = frozenset({_GROUPS, _USERS})
#: As a number it is found without an exception that CPython raises and catches.
_QUERY = ord("?")
_BEFORE_NAMES = (b"groups", b"users")


class Form(Enum):
    """What a path is about."""

    #: A connection, its groups, one of its groups.
    CONNECTION = "<key>"
    CONNECTION_GROUPS = "<key>/groups"
    CONNECTION_GROUP = "<key>/groups/<g>"
    #: Those who get what is published there.
    GROUP = "groups/<g>"
    USER = "users/<u>"
    ALL = "all"
    #: Who they are.
    GROUP_MEMBERS = "groups/<g>/members"
    USER_MEMBERS = "users/<u>/members"
    ALL_MEMBERS = "all/members"
    #: The connections of a user in a group.
    USER_GROUP = "users/<u>/groups/<g>"
    BATCH = "batch"
    NOTHING = ""


#: Those that are about one connection: about the others one may ask by name.
_OF_CONNECTIONS = frozenset({Form.CONNECTION, Form.CONNECTION_GROUPS, Form.CONNECTION_GROUP})


@dataclass(frozen=True, slots=True)
class Path:
    """A path that was read. Names are still as they stand there, good or bad.

    :param form: what it is about
    :param first: the key, or the first name
    :param second: the name of the group, where a key or a user stands before it
    :param strays: whether something stands before it that no ``WS_HOSTNAME`` has: a name was not encoded
    """

    form: Form
    # It may be a key.
    first: str = field(default="", repr=False)
    second: str = ""
    strays: bool = False

    @property
    def is_of_connection(self) -> bool:
        """Whether a key is in it."""
        return self.form in _OF_CONNECTIONS

    @property
    def target(self) -> str:
        """The target of a publish, or whose members are asked for.

        :raises ValueError: if its name is none
        """
        if self.form in (Form.GROUP, Form.GROUP_MEMBERS):
            return names.group(names.decode(self.first))
        if self.form in (Form.USER, Form.USER_MEMBERS):
            return names.user(names.decode(self.first))
        return names.EVERYONE

    @property
    def user(self) -> str:
        """The name of the user.

        :raises ValueError: if it is none
        """
        return names.decode(self.first)

    @property
    def group(self) -> str:
        """The name of the group behind a key or a user.

        :raises ValueError: if it is none
        """
        return names.decode(self.second)


#: How many segments each has.
_LENGTHS = {form: form.value.count("/") + 1 for form in Form}
#: What no WS_HOSTNAME has in its path, but for a key; and what whoever asks has to resolve (RFC 3986 §5.2.4).
RESERVED = frozenset({_GROUPS, _USERS, _ALL, _MEMBERS, _BATCH})
_DOTS = frozenset({".", ".."})


def is_plain(target: bytes) -> bool:
    """Tell quickly, of nearly every push, that its path can be about nothing but a connection.

    :param target: of the request
    :returns: whether it can; if not, :func:`read_path` has to say what it is about
    """
    cut = target.rfind(b"/")
    return (
        len(target) - cut == KEY_LENGTH + 1
        and (cut == 0 or not target.endswith(_BEFORE_NAMES, 0, cut))
        and _QUERY not in target
    )


def _segments(target: bytes) -> list[str]:
    path = target.partition(b"?")[0].decode("latin-1")
    if not path.startswith("/"):
        # In absolute form (RFC 9112 §3.2.2) a host may be named "groups".
        _, found, rest = path.partition("://")
        if found:
            path = "/" + rest.partition("/")[2]
    # So that there are four, whatever came.
    return ["", "", "", *path.split("/")]


def read_named(target: bytes) -> Path | None:
    """Read the path of a request that may be one by name.

    :param target: of the request
    :returns: :data:`None` if it is about a connection alone, or nothing
    """
    if is_plain(target):
        return None
    path = read_path(target)
    return None if path.form in (Form.CONNECTION, Form.NOTHING) else path


def read_path(target: bytes) -> Path:
    """Read the path of a request.

    :param target: of the request: path and query, as sent
    """
    segments = _segments(target)
    form, first, second = _read(*segments[-4:])
    before = segments[: -_LENGTHS[form]]
    strays = any(segment in RESERVED or segment in _DOTS or is_key(segment) for segment in before)
    return Path(form, first, second, strays)


def _read(fourth: str, third: str, second: str, last: str) -> tuple[Form, str, str]:
    """:returns: what the end of a path is about, and what is named in it

    :param last: the last segment, behind those before it
    """
    if fourth == _USERS and second == _GROUPS:
        return Form.USER_GROUP, third, last
    if third in _NAMED and last == _MEMBERS:
        return Form.GROUP_MEMBERS if third == _GROUPS else Form.USER_MEMBERS, second, ""
    if second == _GROUPS and is_key(third):
        return Form.CONNECTION_GROUP, third, last
    if second in _NAMED:
        return Form.GROUP if second == _GROUPS else Form.USER, last, ""
    if second == _ALL and last == _MEMBERS:
        return Form.ALL_MEMBERS, "", ""
    if last == _GROUPS and is_key(second):
        return Form.CONNECTION_GROUPS, second, ""
    for form, word in ((Form.ALL, _ALL), (Form.BATCH, _BATCH)):
        if last == word:
            return form, "", ""
    return (Form.CONNECTION, last, "") if is_key(last) else (Form.NOTHING, "", "")
