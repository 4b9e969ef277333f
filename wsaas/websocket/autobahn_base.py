"""Autobahn's server protocol, without the memory that it takes for each connection.

Autobahn copies some thirty options from its factory into every protocol, and gives each one its own statistics, timers,
signals, two Deferreds and a validator. Here the options and initial values are class attributes, and what few
connections need is made on demand.
"""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.logger import Logger

_log = Logger(namespace="wsaas.websocket.protocol")


class _Quiet:
    """Replaces Autobahn's logger, which logs each step of each frame, and warns about what clients do wrong."""

    def debug(self, *_: Any, **__: Any) -> None:
        """Drop the line: formatting its arguments would take longer than the frame."""

    trace = info = warn = debug

    def error(self, message: str = "", **values: Any) -> None:
        """Log an error: an error in Autobahn is an error of the gateway."""
        _log.error(message, **values)


class _Unused:
    """Replaces the Deferreds that Autobahn fires when a connection opens and closes; neither is used."""

    def callback(self, result: object) -> None:
        """No-op: a Deferred would keep the protocol as its result, a reference cycle."""


class LeanServerProtocol(WebSocketServerProtocol):
    """A WebSocket protocol that starts after the handshake, which is done elsewhere."""

    # Options, as Autobahn's factory has them.
    CONFIG_ATTRS: list[str] = []
    log = _Quiet()
    logOctets = logFrames = trackTimings = False
    utf8validateIncoming = applyMask = requireMaskedClientFrames = True
    maskServerFrames = False
    autoFragmentSize = maxFramePayloadSize = maxMessagePayloadSize = 0
    #: Send a Close frame that says what was wrong, instead of dropping the TCP connection.
    failByDrop = False
    #: RFC 6455 §5.5.1: "it typically echos the status code it received".
    echoCloseCodeReason = True
    #: No timers: those of the connection are used, and Autobahn's would need the global reactor.
    openHandshakeTimeout = closeHandshakeTimeout = 0
    autoPingInterval = autoPingTimeout = 0
    autoPingRestartOnAnyTraffic = False
    tcpNoDelay = True

    # The initial state, as Autobahn's _connectionMade() sets it.
    state = WebSocketServerProtocol.STATE_CONNECTING
    send_state = WebSocketServerProtocol.SEND_STATE_GROUND
    data = b""
    is_open = is_closed = _Unused()
    send_queue: Any = ()
    triggered = False
    trackedTimings: Any = None
    #: One object for all connections, as it is never read.
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
        """No-op: all values are class attributes, and the signals that Autobahn's constructor prepares are not used."""

    def _connectionMade(self) -> None:
        """No-op: Autobahn would set here what the class attributes hold."""

    def _connectionLost(self, reason: Any) -> None:  # noqa: ARG002 - Autobahn's signature
        self.state = self.STATE_CLOSED

    @property
    def utf8validator(self) -> Any:  # type: ignore[override]  # an attribute in Autobahn
        """The incremental UTF-8 validator, made for the first text message."""
        validator = self._validator
        if validator is None:
            validator = self._validator = Utf8Validator()
        return validator
