"""``wsaas connect``: a WebSocket client that sends lines and prints messages."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any, TextIO

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from wsaas import __version__
from wsaas.command.words import Dial

#: Bytes of a binary message that are shown, and bytes that are read at once.
_SHOWN, _CHUNK = 64, 1 << 16
#: Seconds for a handshake, and for the other side's part in a close.
_OPEN, _CLOSE = 20, 3
#: What Autobahn says of a connection that ended without a close frame.
_ABNORMAL = 1006


def shown(payload: bytes, is_binary: bool) -> str:
    """:returns: a message as the terminal has it: what could move its cursor is escaped"""
    if is_binary:
        more = " …" if len(payload) > _SHOWN else ""
        return f"binary, {len(payload)} bytes: {payload[:_SHOWN].hex(' ')}{more}"
    text = payload.decode("utf-8", "replace")
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)


class LineClient(WebSocketClientProtocol):
    """One connection, between its user and a server.

    :param dial: what is to be done
    :param clock: for the time after the last line
    :param out: where messages are printed
    :param notes: where it is said what becomes of the connection
    """

    transport: Any

    def __init__(self, dial: Dial, clock: Any, out: TextIO, notes: TextIO) -> None:
        super().__init__()
        self._dial = dial
        self._clock = clock
        self._out = out
        self._notes = notes
        self._is_open = False
        #: Fires when lines can be sent; not if the server refuses.
        self.opened: Deferred[None] = Deferred()
        #: Fires with the exit status.
        self.ended: Deferred[int] = Deferred()

    def onConnect(self, response: Any) -> None:
        """The server has accepted."""
        agreed = f", subprotocol {response.protocol}" if response.protocol else ""
        self._say(f"open{agreed}")

    def onOpen(self) -> None:
        """Messages can be sent."""
        self._is_open = True
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Print a message."""
        self._out.write(f"{shown(payload, isBinary)}\n")
        self._out.flush()

    def send_line(self, line: bytes) -> None:
        """Send a line, without its end."""
        if self._is_open:
            self.sendMessage(line, self._dial.binary)

    def leave_soon(self) -> None:
        """There are no more lines; answers to the last one may be on their way."""
        self._clock.callLater(self._dial.wait, self.leave)

    def leave(self) -> Deferred[None]:
        """Close the connection.

        :returns: fires when it is closed
        """
        if self._is_open:
            self.sendClose(1000)
        elif not self.ended.called:
            self.transport.abortConnection()
        over: Deferred[None] = Deferred()

        def pass_on(status: int) -> int:
            over.callback(None)
            return status

        self.ended.addCallback(pass_on)
        return over

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Say how it ended."""
        refused = not self.opened.called
        why = f" {shown(reason.encode(), False)}" if reason else ""
        self._say(f"not connected:{why or ' no reason given'}" if refused else f"closed: {code or _ABNORMAL}{why}")
        self._is_open = False
        self.ended.callback(0 if wasClean and not refused else 1)

    def _say(self, text: str) -> None:
        self._notes.write(f"wsaas: {text}\n")
        self._notes.flush()


class Lines(LineOnlyReceiver):
    """Takes what the user writes apart; it is the user's, so that there is no bound but memory.

    :param client: sends the lines
    """

    delimiter = b"\n"
    MAX_LENGTH = 1 << 30

    def __init__(self, client: LineClient) -> None:
        self._client = client
        #: The beginning of a line.
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        """Some bytes."""
        *lines, self._rest = (self._rest + data).split(self.delimiter)
        for line in lines:
            self.lineReceived(line)

    def lineReceived(self, line: bytes) -> None:
        """A line."""
        self._client.send_line(line.removesuffix(b"\r"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - the interface has a reason
        """The end, perhaps of a line without one."""
        if self._rest:
            self.lineReceived(self._rest)
        self._client.leave_soon()


def _read(read: Callable[[int], bytes]) -> bytes:
    try:
        return read(_CHUNK)
    except OSError:
        # Who was started without an input has none.
        return b""


def pump(read: Callable[[int], bytes], reactor: Any, lines: Lines) -> None:
    """Hand all input to the reactor, from a thread: a terminal that is read without blocking is so for others, too.

    :param read: waits for some input; empty at its end
    """
    while data := _read(read):
        taken = Event()

        def take(data: bytes = data, taken: Event = taken) -> None:
            lines.dataReceived(data)
            taken.set()

        reactor.callFromThread(take)
        taken.wait()
    reactor.callFromThread(lines.connectionLost)


class _Factory(WebSocketClientFactory):
    #: Read by Twisted: say nothing at each connection.
    noisy = False


async def talk(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    dial: Dial,
    streams: tuple[TextIO, TextIO],
    read_from: Callable[[LineClient], object],
) -> int:
    """Be a client until the end of the connection.

    :param endpoint: the way to the server
    :param streams: for messages, and for what becomes of the connection
    :param read_from: begins to read lines, once there is a connection
    :returns: the exit status: 0 if it was closed as it should be
    """
    factory = _Factory(
        dial.url,
        protocols=list(dial.protocols),
        useragent=f"wsaas/{__version__}",
        headers=dict(dial.headers),
        reactor=reactor,
    )
    factory.setProtocolOptions(openHandshakeTimeout=_OPEN, closeHandshakeTimeout=_CLOSE)
    factory.protocol = lambda: LineClient(dial, reactor, *streams)  # type: ignore[assignment]  # it makes one
    try:
        client: LineClient = await endpoint.connect(factory)  # type: ignore[assignment]  # the factory makes them
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said
        streams[1].write(f"wsaas: not connected: {error}\n")
        return 1
    reactor.addSystemEventTrigger("before", "shutdown", client.leave)
    client.opened.addCallback(lambda _: read_from(client))
    return await client.ended
