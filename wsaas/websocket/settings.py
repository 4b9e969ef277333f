"""The settings of handshakes."""

from __future__ import annotations

from dataclasses import dataclass

from wsaas.websocket.origins import Origins


@dataclass(frozen=True, slots=True)
class HandshakeSettings:
    """What a handshake must be like, and which of its headers the API gets."""

    origins: Origins
    forward_headers: tuple[str, ...]
    compression: bool
