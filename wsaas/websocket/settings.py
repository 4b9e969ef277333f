"""What the clients' side is told."""

from __future__ import annotations

from dataclasses import dataclass

from wsaas.websocket.origins import Origins


@dataclass(frozen=True, slots=True)
class HandshakeSettings:
    """What a handshake must be like and what of it the API gets to see."""

    origins: Origins
    forward_headers: tuple[str, ...]
    compression: bool
