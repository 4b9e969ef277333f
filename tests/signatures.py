"""``Ws-Signature`` as an API checks it, from what it received and from nothing else: written after protocol §2."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256

#: What a request's ``Ws-*`` headers and other ones are: names and values.
Pairs = Iterable[tuple[bytes, bytes]]


def signed_text(method: str, headers: Pairs, body: bytes) -> bytes:
    """:returns: what is signed of a callback"""
    lines = []
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(b"ws-") and lower != b"ws-signature":
            lines.append(lower + b":" + value)
    return b"\n".join([method.encode("ascii"), *sorted(lines), sha256(body).hexdigest().encode("ascii")])


def signature(secret: bytes, text: bytes) -> str:
    """:returns: one signature"""
    return "v1=" + hmac.new(secret, text, "sha256").hexdigest()


def sign(secrets: bytes, method: str, headers: Pairs, body: bytes) -> str:
    """:returns: the whole header"""
    text = signed_text(method, headers, body)
    return " ".join(signature(secret, text) for secret in secrets.split())


def webhook_signature(key: bytes, headers: Pairs, body: bytes) -> str:
    """:returns: one signature of Standard Webhooks, by its key, which a secret stands for in base64"""
    values = {name.lower(): value for name, value in headers}
    text = b".".join([values[b"webhook-id"], values[b"webhook-timestamp"], body])
    return "v1," + b64encode(hmac.digest(key, text, "sha256")).decode("ascii")
