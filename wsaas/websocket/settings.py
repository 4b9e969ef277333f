"""The settings of handshakes."""

from __future__ import annotations

from dataclasses import dataclass

from wsaas.websocket.origins import Origins


@dataclass(frozen=True, slots=True)
class HandshakeSettings:
    """What a handshake must be like, and which of its headers the API gets.

    :param origins: which web pages may connect
    :param forward_headers: the headers that the API gets
    :param compression: whether permessage-deflate is offered
    :param of_proxies: those of the headers that a trusted proxy sets, each once
    """

    origins: Origins
    forward_headers: tuple[str, ...]
    compression: bool
    of_proxies: tuple[str, ...] = ()
