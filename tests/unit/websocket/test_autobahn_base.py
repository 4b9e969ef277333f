"""The defaults restated from Autobahn, compared with what Autobahn itself sets on a protocol."""

from __future__ import annotations

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from wsaas.websocket.autobahn_base import LeanServerProtocol

_PER_CONNECTION = "set on each instance when it is connected"
_SIGNALS = "signals are not used; Autobahn's constructor prepares them"
_CONNECTION_TIMES = "the timers are those of Connection"

#: Attributes that have another value here, and why.
DIFFERENT = {
    "factory": _PER_CONNECTION,
    "transport": _PER_CONNECTION,
    "connected": _PER_CONNECTION,
    "peer": "only Autobahn's log lines show it, which are dropped",
    "_transport_details": "the handshake knows the client's address; nothing else reads the details",
    "_results": _SIGNALS,
    "_valid_events": _SIGNALS,
    "is_open": _SIGNALS,
    "is_closed": _SIGNALS,
    "trafficStats": "one object for all connections, as it is never read",
    "send_queue": "sendData() is replaced, so that nothing is ever queued there",
    "utf8validator": "made for the first text message",
    "closeHandshakeTimeout": _CONNECTION_TIMES,
    "autoPingRestartOnAnyTraffic": _CONNECTION_TIMES,
    "failByDrop": "a client gets a Close frame that says what it did wrong (RFC 6455 §7.1.7)",
    "echoCloseCodeReason": 'RFC 6455 §5.5.1: "it typically echos the status code it received"',
}

_HANDSHAKE = "read by Autobahn's handshake only, which is not used"

#: Attributes that are missing here, and why.
MISSING = {
    "allowNullOrigin": _HANDSHAKE,
    "allowedOrigins": _HANDSHAKE,
    "allowedOriginsPatterns": _HANDSHAKE,
    "flashSocketPolicy": _HANDSHAKE,
    "maxConnections": _HANDSHAKE,
    "perMessageCompressionAccept": _HANDSHAKE,
    "serveFlashSocketPolicy": _HANDSHAKE,
    "trustXForwardedFor": _HANDSHAKE,
    "versions": _HANDSHAKE,
    "webStatus": _HANDSHAKE,
    "autoPingSize": "read for automatic pings only, which are off",
}


def connected() -> WebSocketServerProtocol:
    """:returns: a protocol of Autobahn's own, just connected, with the default options of its factory"""
    protocol = WebSocketServerProtocol()
    protocol.factory = WebSocketServerFactory(reactor=Clock())
    # Its timer would run in the global reactor.
    protocol.factory.openHandshakeTimeout = 0
    protocol.makeConnection(StringTransport())
    return protocol


class DefaultsTests(SynchronousTestCase):
    """Autobahn's constructor, ``connectionMade`` and ``_connectionMade``; a new release may add attributes."""

    def setUp(self) -> None:
        """Have Autobahn set its attributes."""
        self.autobahns = vars(connected())
        self.ours = LeanServerProtocol()

    def test_it_sets_attributes(self) -> None:
        """The test sees both kinds: options from the factory, and the initial state."""
        self.assertLess(set(WebSocketServerProtocol.CONFIG_ATTRS), set(self.autobahns))
        self.assertEqual(self.autobahns["state"], WebSocketProtocol.STATE_CONNECTING)

    def test_none_is_missing(self) -> None:
        """Each attribute exists here too, unless Autobahn reads it only in code that is not used."""
        self.assertEqual({name for name in self.autobahns if not hasattr(self.ours, name)}, set(MISSING))

    def test_values(self) -> None:
        """Each has the same value, of the same type, unless there is a reason."""
        found = {
            name
            for name, value in self.autobahns.items()
            if name not in MISSING
            and (type(getattr(self.ours, name)) is not type(value) or getattr(self.ours, name) != value)
        }
        self.assertEqual(found, set(DIFFERENT))

    def test_nothing_is_set_when_connected(self) -> None:
        """What the class has is not copied to an instance: that is what it is for."""
        self.ours._connectionMade()
        self.assertEqual(vars(self.ours), {})

    def test_the_dropped_constructor(self) -> None:
        """The constructor of Autobahn sets nothing but signals and details of the transport."""
        signals = {"_results", "_valid_events", "is_open", "is_closed", "_transport_details"}
        self.assertEqual(set(vars(WebSocketServerProtocol())), signals)
