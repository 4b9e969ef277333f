"""``Ws-Signature``: by which the API knows that a callback comes from its gateway, as it was sent (protocol §2).

Signed are, each a line, joined by LF: the method; every ``Ws-*`` header but the signature as ``lower-case-name:value``,
the lines sorted; the SHA-256 of the body in hexadecimal. The code is an HMAC-SHA256 (RFC 2104).

With ``API_WEBHOOK_SIGNATURE``, each callback is signed by Standard Webhooks beside that, over its ``Ws-Id``, its time
and its body, for which there are verifiers in many languages. Signers of their own do this, so nobody else pays for it.
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
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


def make_signer(secrets: Sequence[bytes], webhook_keys: Sequence[bytes] = ()) -> Signer | None:
    """Make what signs with these secrets, and by Standard Webhooks with these keys.

    :returns: :data:`None` without secrets
    """
    if not secrets:
        return None
    return WebhookSigner(secrets, webhook_keys) if webhook_keys else Signer(secrets)


class Signer:
    """Signs with every secret of ``API_SECRET``, so that the API may change from one to the next at any time.

    :param secrets: one or more
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        #: An HMAC begun with each key, which is half of the work; each signature continues a copy.
        self._begun = list(map(_begin, secrets))
        self._remembered: dict[bytes, tuple[bytes, bytes]] = {}

    def renew(self, secrets: Sequence[bytes], webhook_keys: Sequence[bytes] = ()) -> None:  # noqa: ARG002 - see below
        """Sign with these secrets instead, from the next attempt on.

        :param secrets: one or more
        :param webhook_keys: for those who sign by Standard Webhooks, too
        """
        self._begun = list(map(_begin, secrets))

    def for_connection(self, head: bytes) -> ConnectionSigner:
        """:returns: what signs the POST and the PUTs of a connection

        :param head: as :class:`ConnectionSigner` takes it
        """
        return ConnectionSigner(self, head)

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


class WebhookSigner(Signer):
    """Signs by Standard Webhooks, too.

    :param secrets: one or more
    :param keys: what the secrets are there, one for each
    """

    def __init__(self, secrets: Sequence[bytes], keys: Sequence[bytes]) -> None:
        super().__init__(secrets)
        self._keys = list(map(_begin, keys))

    def renew(self, secrets: Sequence[bytes], webhook_keys: Sequence[bytes] = ()) -> None:
        """Sign with these secrets and keys instead, from the next attempt on."""
        super().renew(secrets)
        self._keys = list(map(_begin, webhook_keys))

    def for_connection(self, head: bytes) -> ConnectionSigner:
        """:returns: what signs the POST and the PUTs of a connection"""
        return WebhookConnectionSigner(self, head)

    def line(self, method: bytes, lines: bytes, body: bytes) -> bytes:
        """Sign an attempt: one header line, and those of Standard Webhooks."""
        call = _value(lines, b"Ws-Id")
        return super().line(method, lines, body) + self.webhook_lines(call, _value(lines, b"Ws-Timestamp"), body)

    def webhook_lines(self, call: bytes, time: bytes, body: bytes) -> bytes:
        """:returns: the header lines of Standard Webhooks

        :param call: the ``Ws-Id``
        :param time: the ``Ws-Timestamp``
        """
        codes = []
        for begun in self._keys:
            code = begun.copy()
            code.update(b"%b.%b." % (call, time))
            code.update(body)
            codes.append(b"v1," + b2a_base64(code.digest(), newline=False))
        return b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: %b\r\n" % (call, time, b" ".join(codes))


class WebhookConnectionSigner(ConnectionSigner):
    """Signs the POST and the PUTs of one connection by Standard Webhooks, too.

    :param signer: has the secrets
    :param head: as for :class:`ConnectionSigner`
    """

    __slots__ = ("_id", "_webhooks")

    def __init__(self, signer: WebhookSigner, head: bytes) -> None:
        super().__init__(signer, head)
        self._webhooks = signer
        self._id = head.rpartition(b": ")[2]

    def line(self, method: bytes, call: bytes, lines: bytes, body: bytes) -> bytes:
        """Sign an attempt: one header line, and those of Standard Webhooks."""
        more = self._webhooks.webhook_lines(self._id + call, _value(lines, b"Ws-Timestamp"), body)
        return super().line(method, call, lines, body) + more


def _value(lines: bytes, name: bytes) -> bytes:
    """:returns: the value of a header that is there, and once: no value has the end of a line in it"""
    return (b"\r\n" + lines).partition(b"\r\n%b: " % name)[2].partition(b"\r\n")[0]
