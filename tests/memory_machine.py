"""A machine in memory, on which a whole gateway listens."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock

from tests.gate import Wire


def built(factory: Any, address: Any = None) -> Any:
    """:returns: a protocol, of types that Twisted leaves open"""
    protocol = factory.buildProtocol(address)
    assert protocol is not None
    return protocol


class Machine(MemoryReactorClock):
    """Listens and connects in memory; an ephemeral port is 40000."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        return super().listenTCP(port or 40000, factory, backlog, interface)

    def iterate(self, delay: float = 0.0) -> None:
        """Take one turn."""
        self.advance(delay)

    def places(self) -> set[tuple[str, int]]:
        """:returns: where it is listened at: interfaces and ports"""
        return {(interface, port) for port, _, _, interface in self.tcpServers}

    def connect(self, port: int) -> Wire:
        """Connect to a listening port."""
        factory = next(factory for number, factory, *_ in self.tcpServers if number == port)
        wire = Wire(self)
        return wire.attach(built(factory, wire.getPeer()))
