"""Ports, and ends of TCP connections."""

from __future__ import annotations

import asyncio
import random
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)


#: Below the ports that the kernel gives to whoever connects: a gateway that was killed must find its port again.
_FIRST, _LAST = 10_000, 32_000


def lasting_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses, and that nobody is given by chance."""
    while True:
        port = random.randint(_FIRST, _LAST)  # nosec B311  # any port will do
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection with RST, where ``abort`` would send FIN: SO_LINGER of socket(7)."""
    channel = transport.get_extra_info("socket")
    if channel is not None and not transport.is_closing():
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    if isinstance(transport, asyncio.Transport):
        transport.abort()
