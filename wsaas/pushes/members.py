"""Who is there: counts, listings, and what concerns all members but no message (protocol §6.3)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from wsaas.connections.connection import Connection
from wsaas.connections.messages import Close
from wsaas.groups.home import Home
from wsaas.groups.listing import MAX_PAGE, Page, check_cursor
from wsaas.groups.names import is_user, name_of, user
from wsaas.groups.orders import CloseAll, JoinAll, LeaveAll, Moved
from wsaas.net.http1.messages import RequestHead, Response
from wsaas.pushes.answering import bad_request, read_query, rfc3339
from wsaas.pushes.publish import ok

#: Members of a page, unless it is said.
_USUAL = 100


def user_of(connection: Connection) -> str | None:
    """:returns: the name of a connection's user"""
    return name_of(connection.groups[0]) if is_user(connection.groups) else None


class Wanted:
    """What a listing asks for.

    :param head: of the request
    :raises PushRefused: if a parameter is none
    """

    __slots__ = ("after", "limit", "with_uri")

    def __init__(self, head: RequestHead) -> None:
        given = read_query(head, ("limit", "after", "ws_uri"))
        limit = given.get("limit", str(_USUAL))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= MAX_PAGE):
            raise bad_request(f"limit is a number from 1 to {MAX_PAGE}")
        if given.get("ws_uri", "1") != "1":
            raise bad_request("ws_uri is 1, or not there")
        after = given.get("after", "")
        if "after" in given:
            try:
                check_cursor(after)
            except ValueError as error:
                raise bad_request(str(error)) from None
        self.limit = int(limit)
        self.after = after
        self.with_uri = "ws_uri" in given

    def describe(self, member: Connection) -> dict[str, object]:
        """:returns: what is told of a member"""
        remembered, at = member.remembered, member.traffic.connected_at
        told: dict[str, object] = {
            "id": member.identity.tag,
            "user": user_of(member),
            "state": None if remembered is None else remembered.state,
            "connected_at": None if at is None else rfc3339(at),
        }
        if self.with_uri:
            told["ws_uri"] = member.identity.ws_uri
        return told


def list_members(home: Home, target: str, wanted: Wanted) -> Deferred[Response]:
    """Tell a page of members.

    :raises OverloadedError: if too many others are being told
    """

    def tell(page: Page) -> Response:
        return ok(members=[wanted.describe(member) for member in page.members], next=page.following)

    return home.list_members(target, wanted.after, wanted.limit).addCallback(tell)


def close_members(home: Home, target: str, close: Close, left_out: frozenset[str]) -> Deferred[Response]:
    """Close every member.

    :raises OverloadedError: if too much waits
    """
    closing = home.close_all(CloseAll(target, close, left_out))
    return closing.addCallback(lambda reached: ok(closed=reached.closed))


def empty(home: Home, target: str) -> Deferred[Response]:
    """Have everybody leave a group.

    :raises OverloadedError: if too much waits
    """
    return home.leave_all(LeaveAll(target, name_of(target))).addCallback(lambda moved: ok(left=moved.left))


def _moved(moved: Moved) -> Response:
    return ok(joined=moved.joined, left=moved.left, full=moved.full)


def join_user(home: Home, name: str, group_name: str) -> Deferred[Response]:
    """Have the present connections of a user join a group.

    :raises OverloadedError: if too much waits
    """
    return home.join_all(JoinAll(user(name), group_name)).addCallback(_moved)


def leave_user(home: Home, name: str, group_name: str) -> Deferred[Response]:
    """Have the present connections of a user leave a group.

    :raises OverloadedError: if too much waits
    """
    return home.leave_all(LeaveAll(user(name), group_name)).addCallback(_moved)
