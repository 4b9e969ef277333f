"""permessage-deflate (RFC 7692, ``WS_COMPRESSION``): offers, the one accepted, and a bound on inflated messages."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflate, PerMessageDeflateOffer, PerMessageDeflateOfferAccept

from wsaas.errors import HandshakeRefused

#: Characters of an error about an offer that are shown, as it quotes what the client sent.
_MAX_SHOWN = 200


def read_offers(extensions: str) -> list[PerMessageDeflateOffer]:
    """Read a ``Sec-WebSocket-Extensions`` (RFC 6455 §9.1, RFC 7692 §7.1).

    :raises HandshakeRefused: if an offer of permessage-deflate is malformed
    """
    offers = []
    for name, parameters in WebSocketServerProtocol()._parseExtensionsHeader(extensions):  # noqa: SLF001 - Autobahn's only parser of it
        if name == PerMessageDeflateOffer.EXTENSION_NAME:
            try:
                offers.append(PerMessageDeflateOffer.parse(parameters))
            except Exception as error:
                raise HandshakeRefused(400, f"Sec-WebSocket-Extensions: {str(error)[:_MAX_SHOWN]}") from error
    return offers


def accept_first(offers: list[PerMessageDeflateOffer], max_message: int) -> PerMessageDeflateOfferAccept | None:
    """Accept the first offer.

    Without context takeover in either direction, as an idle connection would keep a context of 300 KB.

    :param max_message: bytes that an inflated message may have
    :returns: :data:`None` if there is no offer
    """
    for offer in offers:
        return PerMessageDeflateOfferAccept(
            offer,
            request_no_context_takeover=True,
            no_context_takeover=True,
            max_message_size=max_message + WholeMessages.MARGIN,
        )
    return None


class WholeMessages:
    """permessage-deflate, with a fix for Autobahn's bound on the length of inflated messages.

    When zlib has consumed all of its input it may still hold back output, up to the rest of one match. Autobahn asks
    for no more than the limit, so that it would cut a message that is a little longer, and accept it. So the limit is
    raised by the longest match here, and Autobahn's check of the total length refuses such a message.

    :param accept: what both sides agreed on
    """

    #: Bytes: the longest match (RFC 1951 §3.2.5).
    MARGIN = 258

    def __init__(self, accept: PerMessageDeflateOfferAccept) -> None:
        self._extension = PerMessageDeflate.create_from_offer_accept(True, accept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extension, name)

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> Any:  # noqa: ARG002 - Autobahn's signature
        """Inflate a part of a message, bounded by the ``max_message_size`` of the extension."""
        return self._extension.decompress_message_data(data)
