"""permessage-deflate (RFC 7692, ``WS_COMPRESSION``): offers, the one accepted, and a bound on inflated messages."""

from __future__ import annotations

import re
from typing import Any

from autobahn.websocket.compress import PerMessageDeflate, PerMessageDeflateOffer, PerMessageDeflateOfferAccept

#: A token (RFC 9110 §5.6.2).
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: A parameter with its value, which may be quoted and is a token all the same (RFC 6455 §9.1).
_PARAMETER = re.compile(rf'[ \t]*({_WORD})[ \t]*(?:=[ \t]*(?:({_WORD})|"({_WORD})")[ \t]*)?')
#: RFC 7692 §7.1.2: no leading zeroes.
_BITS = re.compile("[89]|1[0-5]")
#: zlib has no window of 8 bits for what is not its own format.
_TOO_SMALL = "8"


def _parameters(text: str) -> dict[str, str | None] | None:
    """:returns: the parameters of an offer by name; :data:`None` if they are malformed, or one stands there twice"""
    found: dict[str, str | None] = {}
    for part in text.split(";"):
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None or parameter[1].lower() in found:
            return None
        found[parameter[1].lower()] = parameter[2] or parameter[3]
    return found


def _read_offer(text: str) -> PerMessageDeflateOffer | None:
    """:returns: an offer of permessage-deflate that can be accepted, if it is one (RFC 7692 §7.1)"""
    name, separator, rest = text.partition(";")
    if name.strip(" \t").lower() != PerMessageDeflateOffer.EXTENSION_NAME:
        return None
    parameters = _parameters(rest) if separator else {}
    if parameters is None:
        return None
    hinted = own = False
    bits = 0
    for parameter, value in parameters.items():
        if parameter == "server_max_window_bits" and value is not None and _BITS.fullmatch(value):
            if value == _TOO_SMALL:
                return None
            bits = int(value)
        elif parameter == "client_max_window_bits" and (value is None or _BITS.fullmatch(value)):
            # A hint: what the client sends is inflated, whatever its window is.
            hinted = True
        elif parameter == "server_no_context_takeover" and value is None:
            own = True
        elif parameter != "client_no_context_takeover" or value is not None:
            return None
    return PerMessageDeflateOffer(True, hinted, own, bits)


def accept_first(extensions: str, max_message: int) -> PerMessageDeflateOfferAccept | None:
    """Accept the first offer of a ``Sec-WebSocket-Extensions`` that can be, and decline the others (RFC 7692 §5.1).

    Without context takeover in either direction, as an idle connection would keep a context of 300 KB.

    :param extensions: as the client sent it
    :param max_message: bytes that an inflated message may have
    :returns: :data:`None` if there is no such offer: the WebSocket then has no extension
    """
    # Quoted values are tokens (RFC 6455 §9.1): no comma stands within quotes.
    for element in extensions.split(","):
        offer = _read_offer(element)
        if offer is not None:
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

    @property
    def parameters(self) -> object:
        """What was negotiated that the compressed form of a message depends on."""
        extension = self._extension
        return extension.server_max_window_bits, extension.mem_level

    def compress(self, payload: bytes) -> bytes:
        """Compress one whole message.

        Without context takeover it does not depend on earlier ones, so that all clients with the same
        :attr:`parameters` can have the same bytes.

        :returns: what a frame carries (RFC 7692 §7.2.1)
        """
        extension = self._extension
        extension.start_compress_message()
        compressed: bytes = extension.compress_message_data(payload)
        return compressed + bytes(extension.end_compress_message())

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> Any:  # noqa: ARG002 - Autobahn's signature
        """Inflate a part of a message, bounded by the ``max_message_size`` of the extension."""
        return self._extension.decompress_message_data(data)
