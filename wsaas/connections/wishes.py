"""Users and groups, as answers of the API change them (protocol §2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsaas.errors import NoRoom, OverloadedError, TooManyGroupsError, Unusable

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection
    from wsaas.connections.interfaces import Groups
    from wsaas.connections.messages import Wishes


def regroup(groups: Groups, connection: Connection, wishes: Wishes) -> None:
    """Carry out what an answer asks for, up to what it publishes; no effect on a connection that is closing.

    :raises CallbackFailed: if it cannot join; what comes before that is done
    """
    if wishes.user is not None:
        groups.set_user(connection, wishes.user or None)
    if wishes.leaves_all:
        groups.leave(connection)
    elif wishes.leave:
        groups.leave(connection, wishes.leave)
    if not wishes.join:
        return
    try:
        groups.join(connection, wishes.join)
    except TooManyGroupsError:
        raise Unusable("Ws-Join: the connection would be in more groups than WS_MAX_GROUPS") from None
    except OverloadedError:
        raise NoRoom("Ws-Join: the gateway holds as many memberships as it may") from None
