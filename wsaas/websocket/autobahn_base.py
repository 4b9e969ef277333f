"""Autobahn's server protocol, less what it keeps for each connection.

Autobahn copies some thirty options from its factory into every protocol, and gives each its own statistics, timers,
signals, two Deferreds and a validator. Here options are class attributes, what never changes stands there too, and
what few connections need is made when they need it.
"""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.logger import Logger

_log = Logger(namespace="wsaas.websocket.protocol")


class _Quiet:
    """Autobahn's log: one line of debug for each step of each frame, and warnings about what clients do wrong."""

    def debug(self, *_: Any, **__: Any) -> None:
        """Drop it: the arguments alone would cost more than the frame."""

    trace = info = warn = debug

    def error(self, message: str = "", **values: Any) -> None:
        """Pass it on: an error of Autobahn's is one of ours."""
        _log.error(message, **values)


class _NobodyWaits:
    """What Autobahn fires when a connection opens and closes; nobody waits for either."""

    def callback(self, result: object) -> None:
        """Nobody is told. A Deferred would keep the protocol as its result: a cycle."""


class LeanServerProtocol(WebSocketServerProtocol):
    """A connection whose handshake is over before this protocol sees it."""

    # Options, as Autobahn's factory has them.
    CONFIG_ATTRS: list[str] = []
    log = _Quiet()
    logOctets = logFrames = trackTimings = False
    utf8validateIncoming = applyMask = requireMaskedClientFrames = True
    maskServerFrames = False
    autoFragmentSize = maxFramePayloadSize = maxMessagePayloadSize = 0
    #: Send a Close frame that says what was wrong, instead of ending the TCP connection.
    failByDrop = False
    #: RFC 6455 §5.5.1: "it typically echos the status code it received".
    echoCloseCodeReason = True
    #: Timers are the connection's; Autobahn's would use the global reactor.
    openHandshakeTimeout = closeHandshakeTimeout = 0
    autoPingInterval = autoPingTimeout = 0
    autoPingRestartOnAnyTraffic = False
    tcpNoDelay = True

    # What a protocol begins with, as Autobahn's _connectionMade() sets it.
    state = WebSocketServerProtocol.STATE_CONNECTING
    send_state = WebSocketServerProtocol.SEND_STATE_GROUND
    data = b""
    is_open = is_closed = _NobodyWaits()
    send_queue: Any = ()
    triggered = False
    trackedTimings: Any = None
    #: Nobody reads it, so that one can count for all.
    trafficStats = TrafficStats()
    wasMaxFramePayloadSizeExceeded = wasMaxMessagePayloadSizeExceeded = False
    closedByMe = failedByMe = droppedByMe = wasClean = False
    wasNotCleanReason: Any = None
    wasServerConnectionDropTimeout = wasOpenHandshakeTimeout = wasCloseHandshakeTimeout = False
    wasServingFlashSocketPolicyFile = False
    localCloseCode = localCloseReason = remoteCloseCode = remoteCloseReason = None
    openHandshakeTimeoutCall = closeHandshakeTimeoutCall = None
    autoPingTimeoutCall = autoPingPending = autoPingPendingCall = None
    autoPingPendingSeq = 0
    autoPingPendingSent = None
    inside_message = False
    current_frame: Any = None
    websocket_version = 13
    _perMessageCompress: Any = None
    _transport_details: Any = None
    _validator: Any = None

    def __init__(self) -> None:
        """Nothing: everything has its default, and the signals that Autobahn's constructor prepares are not used."""

    def _connectionMade(self) -> None:
        """Nothing, for the same reason."""

    def _connectionLost(self, reason: Any) -> None:  # noqa: ARG002 - Autobahn's signature
        self.state = self.STATE_CLOSED

    @property
    def utf8validator(self) -> Any:  # type: ignore[override]  # Autobahn sets it itself; nobody else does
        """The incremental validator of text; made with the first text message."""
        validator = self._validator
        if validator is None:
            validator = self._validator = Utf8Validator()
        return validator
