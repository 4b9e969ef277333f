"""The values that pass between the clients' side and the API's side: messages, grants, closes, ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from wsaas.connections.identity import Identity
from wsaas.limits import SharedBytes

#: RFC 6455 §5.5: a control frame carries at most 125 bytes, two of which are the close code.
MAX_REASON = 123

#: Stands for the sender among those who do not get what an answer publishes, until its tag takes the place.
SELF = "self"

#: Close codes that an API may ask for: those of the IANA registry that an endpoint may send, and the free ranges.
_SENDABLE = frozenset({1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014})


@dataclass(slots=True)
class Message:
    """One WebSocket message.

    :param payload: its bytes; UTF-8 when it is text
    :param binary: whether it is a binary message (RFC 6455 §5.6)
    """

    payload: bytes
    binary: bool


class SharedMessage(SharedBytes):
    """One message for many clients: its payload, and each rendering of it, exist once, and count once.

    :param message: what is sent
    """

    __slots__ = ("binary", "plain", "renderings", "size")

    def __init__(self, message: Message) -> None:
        super().__init__(message.payload)
        self.binary = message.binary
        self.size = len(message.payload)
        #: Its frame for clients with which no extension was negotiated.
        self.plain: SharedBytes | None = None
        #: Its frames for others, by what was negotiated.
        self.renderings: dict[object, SharedBytes] = {}

    @property
    def payload(self) -> bytes:
        """Its bytes; UTF-8 when it is text."""
        return self.content


@dataclass(frozen=True, slots=True)
class Publication:
    """A message to all members of some targets: a value that can travel between processes.

    :param targets: ``groups/<name>``, ``users/<name>`` or ``all``, names as they are
    :param message: what each member gets once
    :param left_out: the tags of connections that do not get it (``Ws-Except``)
    :param skips_slow: whether a member without room is passed over; else it is closed (``Ws-Slow``)
    :param key: its ``Idempotency-Key``
    :param aside: the tags of connections that get it in another way, and count there
    """

    targets: tuple[str, ...]
    message: Message
    left_out: frozenset[str] = frozenset()
    skips_slow: bool = False
    key: bytes | None = None
    aside: frozenset[str] = frozenset()

    def by(self, tag: str) -> Publication:
        """:returns: the same, with the sender's tag in place of :data:`SELF`

        :param tag: of the connection whose callback was answered
        """
        return replace(self, left_out=self.left_out - {SELF} | {tag}) if SELF in self.left_out else self


@dataclass(slots=True)
class Reached:
    """What became of a publication: how many members there were, and how many of them got it. They can be added up.

    :param sent: it is in the socket, or in its bounded buffer
    :param held: they are in their handshake; it goes out behind the 101
    :param skipped: they had no room, and were passed over
    :param closed: they had no room, and were closed
    :param left_out: they were not to get it
    """

    sent: int = 0
    held: int = 0
    skipped: int = 0
    closed: int = 0
    left_out: int = 0

    def add(self, other: Reached) -> None:
        """Add what became of another publication, or of this one elsewhere."""
        self.sent += other.sent
        self.held += other.held
        self.skipped += other.skipped
        self.closed += other.closed
        self.left_out += other.left_out

    @property
    def members(self) -> int:
        """With how many it was tried."""
        return self.sent + self.held + self.skipped + self.closed + self.left_out


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the API set for a connection, and every later callback repeats.

    :param state: ``Ws-State``, not empty
    :param user: ``Ws-User``: the name, not encoded
    """

    state: str | None = None
    user: str | None = None


def remember(known: Remembered | None, state: str | None = None, user: str | None = None) -> Remembered | None:
    """Change what is remembered of a connection.

    :param known: what was remembered before
    :param state: the new ``Ws-State``; empty removes it, :data:`None` leaves it
    :param user: the new ``Ws-User``, in the same way
    :returns: what is remembered now; :data:`None` if that is nothing
    """
    if known is not None:
        state = known.state if state is None else state
        user = known.user if user is None else user
    return Remembered(state or None, user or None) if state or user else None


class ClosedBy(StrEnum):
    """Who or what ended a connection: the value of ``Ws-Closed-By``."""

    CLIENT = "client"
    API = "api"
    TIMEOUT = "timeout"
    SLOW = "slow"
    PROTOCOL = "protocol"
    UNREACHABLE = "unreachable"
    SHUTDOWN = "shutdown"
    ERROR = "error"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Close:
    """What a Close frame says (RFC 6455 §5.5.1).

    :param code: the status code
    :param reason: at most :data:`MAX_REASON` bytes as UTF-8
    """

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """Why a connection is over.

    :param close: code and reason; 1005 and 1006 stand for "none" and "no Close frame" (RFC 6455 §7.4.1)
    :param by: who or what caused it first
    """

    close: Close
    by: ClosedBy


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an answer asks for about users and groups, carried out in this order. Names are not encoded.

    :param user: the new ``Ws-User``; empty removes it, :data:`None` leaves it
    :param leaves_all: whether to leave all groups
    :param leave: groups to leave
    :param join: groups to join
    :param publication: what to publish; ``self`` stands for the connection
    """

    user: str | None = None
    leaves_all: bool = False
    leave: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    publication: Publication | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The API accepts a client.

    :param protocol: the subprotocol in use, if any
    :param state: the first ``Ws-State``
    :param close: accept the client, then close with this
    :param closed_by: who asked for that close: the gateway itself if the API's answer could not be read
    :param wishes: what it asks for about users and groups; :data:`None` if that is nothing, as it mostly is
    """

    protocol: str | None = None
    state: str | None = None
    close: Close | None = None
    closed_by: ClosedBy = ClosedBy.API
    wishes: Wishes | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The API took a message.

    :param state: the new ``Ws-State``; empty removes it, :data:`None` leaves it
    :param reply: a message for the client
    :param close: close the connection with this, after the reply
    :param wishes: what it asks for about users and groups, before the reply; :data:`None` if that is nothing
    """

    state: str | None = None
    reply: Message | None = None
    close: Close | None = None
    wishes: Wishes | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The API refused one message; the connection goes on.

    :param status: the status of its answer
    """

    status: int


Outcome = Delivered | Rejected

#: The API took a message and asks for nothing: by far the most common outcome.
TAKEN = Delivered()


@dataclass(slots=True)
class Traffic:
    """Counts what went through a connection, for ``GET ws_uri`` and the log. ``connected_at`` in Unix seconds."""

    connected_at: float | None = None
    #: The same moment in seconds of the clock, from which its duration is counted.
    opened_at: float = 0.0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


def checked_close(code: str, reason: str) -> Close:
    """Check a close code and reason that an API asked for.

    :param code: the code as text
    :raises ValueError: saying what is wrong with one of them
    """
    # Not int(): it takes signs, blanks, underscores and digits of other scripts.
    if not (len(code) == 4 and code.isascii() and code.isdigit()):
        raise ValueError(f"close code {code[:20]!r} is not a number of four digits")
    number = int(code)
    if number not in _SENDABLE and not 3000 <= number <= 4999:
        raise ValueError(
            f"close code {number} may not be sent; allowed: 1000, 1001, 1003, 1007-1009, 1011-1014, 3000-4999"
        )
    try:
        length = len(reason.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError("the close reason is not UTF-8") from None
    if length > MAX_REASON:
        raise ValueError(
            f"the close reason has {length} bytes of UTF-8, more than the {MAX_REASON} that fit a Close frame"
        )
    return Close(number, reason)


@dataclass(slots=True)
class Handshake:
    """A client's request to connect. Not frozen, as its ten members would take a microsecond more, twice for a client.

    :param target: path and query, as sent
    :param host: the ``Host`` it asked for
    :param secure: whether it came over TLS
    :param client: its IP address; :data:`None` on a UNIX socket
    :param origin: the ``Origin``, as sent
    :param user_agent: the ``User-Agent``, as sent
    :param forwarded: the headers of ``FORWARD_HEADERS`` that it has, in that order, repeated ones repeated
    :param key: the ``Sec-WebSocket-Key``
    :param protocols: the subprotocols offered, in order of preference
    :param extensions: the ``Sec-WebSocket-Extensions``, joined
    """

    # What may hold a token is not in its repr, which may get into a log.
    target: bytes = field(repr=False)
    host: bytes
    secure: bool
    client: str | None
    origin: bytes | None
    user_agent: bytes | None
    forwarded: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    key: str = field(repr=False)
    protocols: tuple[str, ...] = field(repr=False)
    extensions: str

    def remembered(self) -> Handshake:
        """:returns: the part that is still needed once the connection is open, to save memory"""
        return Handshake(self.target, b"", self.secure, self.client, None, None, (), "", (), "")


@dataclass(frozen=True, slots=True)
class PendingDisconnect:
    """A connection of an earlier process whose DELETE is still pending.

    :param identity: its names
    :param target: path and query of its handshake
    :param client: its IP address; :data:`None` if it came through a UNIX socket
    :param remembered: what the API had set, as it was recorded last
    :param end: how it ended; by a crash, if that was not recorded
    :param undelivered: how many of its messages were dropped
    :param ended_at: when it ended, in Unix seconds; 0 if that was not recorded
    """

    identity: Identity
    target: bytes = field(repr=False)  # Its query may hold a token.
    client: str | None
    remembered: Remembered | None
    end: End
    undelivered: int
    ended_at: float
