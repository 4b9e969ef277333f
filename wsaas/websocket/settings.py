"""The settings of handshakes."""

from __future__ import annotations

from dataclasses import dataclass

from wsaas.websocket.origins import Origins

#: Bytes of a head for all but the target and the forwarded headers: cookies that are not forwarded, Host and such.
_OTHER = 8 * 1024


@dataclass(frozen=True, slots=True)
class HandshakeSettings:
    """What a handshake must be like, and which of its headers the API gets.

    :param origins: which web pages may connect
    :param forward_headers: the headers that the API gets
    :param compression: whether permessage-deflate is offered
    :param of_proxies: those of the headers that a trusted proxy sets, each once
    :param max_target: bytes of the target
    :param max_headers: bytes of the headers that the API gets, their names included
    """

    origins: Origins
    forward_headers: tuple[str, ...]
    compression: bool
    of_proxies: tuple[str, ...] = ()
    max_target: int = 2 * 1024
    max_headers: int = 6 * 1024

    @property
    def max_head(self) -> int:
        """Bytes of a whole head: whatever is allowed fits, together with what is usual besides."""
        return self.max_target + self.max_headers + _OTHER
