"""TLS from clients, names that they ask for, and PEM files."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock

from fuzz.inputs import Draw, parts, slices
from fuzz.watch import watch
from tests.certificates import Authority
from tests.gate import Wire
from wsaas.net.client_tls import read_authorities, read_certificate
from wsaas.net.server_tls import ServerTls, TlsError, _folder, _server_certificate

_SCRATCH = TemporaryDirectory(prefix="fuzz-")
_FOLDER = Path(_SCRATCH.name)
_FILE = _FOLDER / "files" / "default.pem"
_FILE.parent.mkdir()
_AUTHORITY = Authority()
_GOOD = b"".join(_AUTHORITY.issue(["gateway.test"]))
_OTHER = b"".join(_AUTHORITY.issue(["*.wild.test", "other.test"]))
_FILE.write_bytes(_GOOD)
(_FOLDER / "names").mkdir()
(_FOLDER / "names" / "default.pem").write_bytes(_GOOD)
(_FOLDER / "names" / "other.pem").write_bytes(_OTHER)
_TLS = ServerTls("fuzz", lambda: _folder(_FOLDER / "names"))

_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----\n(.+?)-----END", re.DOTALL)
_NAMES = (
    b"gateway.test",
    b"other.test",
    b"a.wild.test",
    b"A.WILD.TEST.",
    b"a.b.wild.test",
    b".wild.test",
    b"*.wild.test",
    b"",
    b".",
    b"\xff\xfe",
    b"a" * 250,
    b"[::1]",
    b"192.0.2.1",
    b"xn--",
)


class _Said(Protocol):
    """Whoever is behind TLS."""

    said = b""

    def dataReceived(self, data: bytes) -> None:
        self.said += data


def _hello(name: bytes) -> bytes:
    """:returns: the first bytes of a client"""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client = SSL.Connection(context, None)
    if name:
        client.set_tlsext_host_name(name)
    client.set_connect_state()
    try:
        client.do_handshake()
    except SSL.WantReadError:
        pass
    hello: bytes = client.bio_read(1 << 14)
    return hello


def _server(pieces: list[bytes]) -> Hashable:
    """Bytes at a TLS listener."""
    clock = MemoryReactorClock()
    behind: list[_Said] = []

    class Behind(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:  # noqa: ARG002 - Twisted's signature
            behind.append(_Said())
            return behind[-1]

    protocol = _TLS.wrap(Behind(), clock).buildProtocol(None)  # type: ignore[arg-type]  # no address is needed
    assert protocol is not None
    wire = Wire(clock).attach(protocol)
    for piece in pieces:
        if wire.over:
            break
        wire.deliver(piece)
        clock.advance(0)
    over = wire.over
    wire.end()
    clock.advance(1)
    assert not clock.getDelayedCalls(), clock.getDelayedCalls()
    assert not behind[0].said, "something came through without a key"
    answer = wire.take()
    return over, answer[:1]


def _pem(content: bytes) -> Hashable:
    """A PEM file, for us to show or to trust."""
    _FILE.write_bytes(content)
    seen: list[Hashable] = []
    for read in (
        lambda: _server_certificate(_FILE, _FILE),
        lambda: ServerTls("fuzz", lambda: _folder(_FILE.parent)),
        lambda: ServerTls("fuzz", lambda: _folder(_FOLDER / "names"), _FILE),
    ):
        try:
            read()
        except TlsError as error:
            seen.append(str(error).rpartition(":")[2][:30])
        else:
            seen.append(True)
    for read_for_api in (read_authorities, read_certificate):
        try:
            read_for_api(_FILE)
        except ValueError:
            seen.append(False)
        else:
            seen.append(True)
    return tuple(seen)


def run(data: bytes) -> Hashable:
    """Try an input: bytes of a client's; a name for a well-formed one; or a PEM file."""
    variant, cut, stream = parts(data)
    watch.begin()
    kind = variant % 3
    if kind == 0:
        outcome = _server(slices(stream, cut))
    elif kind == 1:
        name = stream.split(b"\0")[0][:250]
        outcome = _server(slices(_hello(name), cut)), name in _NAMES
    else:
        outcome = _pem(stream)
    # What is odd about a certificate is told once for each time that it is read.
    watch.check(20 if kind == 2 else 0)
    return kind, outcome


def _changed(draw: Draw, pem: bytes) -> bytes:
    """Change bytes below the encoding of one block, whose lengths mostly stay right: parsers get further then."""
    block = draw.one(tuple(_BLOCK.finditer(pem)))
    der = bytearray(b64decode(block[1]))
    for _ in range(1 + draw.number(2)):
        # Half of them become what may be a tag: another type of the same length.
        der[int(draw.random.random() * len(der))] = int(draw.random.random() * draw.one((32, 256)))
    return pem[: block.start(1)] + b64encode(der) + b"\n" + pem[block.end(1) :]


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    kind = draw.one((0, 0, 1, 2))
    if kind == 0:
        # libssl chooses its own random bytes, so that these inputs are not the same for the same seed.
        stream = draw.damaged(_hello(draw.one(_NAMES)), most=4)
    elif kind == 1:
        stream = draw.one(_NAMES)
        if draw.chance(0.5):
            stream = draw.damaged(stream)
    else:
        stream = b"".join(draw.some((_GOOD, _OTHER, _AUTHORITY.certificate), 3))
        stream = _changed(draw, stream) if stream and draw.chance(0.5) else draw.damaged(stream, most=4)
    return bytes((kind, int(draw.random.random() * 256))) + stream
