"""``Ws-Signature``: by which the API knows that a callback comes from its gateway, as it was sent (protocol §2).

Signed are, each a line, joined by LF: the method; every ``Ws-*`` header but the signature as ``lower-case-name:value``,
the lines sorted; the SHA-256 of the body in hexadecimal. The code is an HMAC-SHA256 (RFC 2104).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

_OF_NOTHING = sha256().hexdigest().encode("ascii")
#: How many different blocks of the lines that change are remembered. Without ``Ws-State`` and ``Ws-User``, all messages
#: of a second have the same.
_MAX_REMEMBERED = 64


def _signed_lines(lines: bytes) -> list[bytes]:
    """:returns: those of some header lines that are signed, as they are signed, in order: that of the lines, not of
    the names, so that ``ws-user-agent:`` comes before ``ws-user:``
    """
    fields = [line.partition(b": ") for line in lines.split(b"\r\n")]
    return sorted(b"%b:%b\n" % (name.lower(), value) for name, _, value in fields if name.startswith(b"Ws-"))


def _begin(secret: bytes) -> hmac.HMAC:
    return hmac.new(secret, digestmod="sha256")


def make_signer(secrets: Sequence[bytes]) -> Signer | None:
    """:returns: what signs with these secrets; :data:`None` if there are none"""
    return Signer(secrets) if secrets else None


class Signer:
    """Signs with every secret of ``API_SECRET``, so that the API may change from one to the next at any time.

    :param secrets: one or more
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        #: An HMAC begun with each key, which is half of the work; each signature continues a copy.
        self._begun = list(map(_begin, secrets))
        self._remembered: dict[bytes, tuple[bytes, bytes]] = {}

    def renew(self, secrets: Sequence[bytes]) -> None:
        """Sign with these secrets instead, from the next attempt on.

        :param secrets: one or more
        """
        self._begun = list(map(_begin, secrets))

    def sign(self, text: bytes) -> bytes:
        """:returns: the header line for a signed text"""
        codes = []
        for begun in self._begun:
            code = begun.copy()
            code.update(text)
            codes.append(f"v1={code.hexdigest()}")
        return f"Ws-Signature: {' '.join(codes)}\r\n".encode("ascii")

    def line(self, method: bytes, lines: bytes, body: bytes) -> bytes:
        """Sign an attempt.

        :param method: of the callback
        :param lines: all its header lines, as they go on the wire
        :param body: its body; empty if it has none
        :returns: one more header line
        """
        hashed = sha256(body).hexdigest().encode("ascii") if body else _OF_NOTHING
        return self.sign(b"".join((method, b"\n", *_signed_lines(lines), hashed)))

    def changing(self, lines: bytes) -> tuple[bytes, bytes]:
        """:returns: what is signed of header lines that many callbacks have in common: ``Ws-State`` and
        ``Ws-Timestamp``; and what comes behind all others: ``Ws-User``
        """
        try:
            return self._remembered[lines]
        except KeyError:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            ours = _signed_lines(lines)
            last = [line for line in ours if line.startswith(b"ws-user:")]
            signed = self._remembered[lines] = (b"".join(ours[: len(ours) - len(last)]), b"".join(last))
            return signed


class ConnectionSigner:
    """Signs the POST and the PUTs of one connection: :meth:`Signer.line` for less, as most of it stays the same.

    :param signer: has the secrets
    :param head: the header lines that all of them have in common, as they go on the wire, up to the call's number, with
        which the last of them ends: ``Ws-Id``
    """

    __slots__ = ("_after", "_before", "_between", "_signer")

    def __init__(self, signer: Signer, head: bytes) -> None:
        self._signer = signer
        # Between these stand, in the order of bytes: the call's number; Ws-State and Ws-Timestamp; at the end Ws-User.
        lines = _signed_lines(head)
        self._before = b"".join([line for line in lines if line < b"ws-ie"])[:-1]
        self._between = b"\n" + b"".join([line for line in lines if b"ws-ie" < line < b"ws-state"])
        self._after = b"".join([line for line in lines if line > b"ws-state"])

    def line(self, method: bytes, call: bytes, lines: bytes, body: bytes) -> bytes:
        """Sign an attempt.

        :param method: of the callback
        :param call: the call's number
        :param lines: its header lines that are not in common: ``Ws-State``, ``Ws-User``, ``Ws-Timestamp`` and what is
            not signed
        :param body: its body
        :returns: one more header line
        """
        signer = self._signer
        changing, last = signer.changing(lines)
        hashed = sha256(body).hexdigest().encode("ascii") if body else _OF_NOTHING
        text = b"".join((method, b"\n", self._before, call, self._between, changing, self._after, last, hashed))
        return signer.sign(text)
