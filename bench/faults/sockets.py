"""Ends of TCP connections."""

from __future__ import annotations

import asyncio
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection with RST, where ``abort`` would send FIN: SO_LINGER of socket(7)."""
    channel = transport.get_extra_info("socket")
    if channel is not None and not transport.is_closing():
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    if isinstance(transport, asyncio.Transport):
        transport.abort()
