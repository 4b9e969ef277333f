"""``PUSH_TOKEN``: who may push (protocol §3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import compare_digest

#: What the answer says is asked for (RFC 6750 §3).
CHALLENGE = (b"WWW-Authenticate", b"Bearer")


class PushTokens:
    """The tokens that let a push through. Only their hashes are kept.

    :param tokens: none lets everyone through
    """

    def __init__(self, tokens: Sequence[bytes] = ()) -> None:
        self._hashes = [sha256(token).digest() for token in tokens]
        self._forget: list[Callable[[], None]] = []

    def renew(self, tokens: Sequence[bytes]) -> None:
        """Let these tokens through instead, from the next push on."""
        self._hashes = [sha256(token).digest() for token in tokens]
        for forget in self._forget:
            forget()

    def when_renewed(self, forget: Callable[[], None]) -> None:
        """Have those called who remember which headers were let through."""
        self._forget.append(forget)

    @property
    def asked_for(self) -> bool:
        """Whether a push needs one."""
        return bool(self._hashes)

    def allow(self, authorization: Sequence[bytes]) -> bool:
        """Tell whether a push may pass. How long that takes depends on no token.

        :param authorization: the values of its ``Authorization`` header, one for each line it stands in
        """
        if not self._hashes:
            return True
        if len(authorization) != 1:
            return False
        scheme, _, token = authorization[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        given = sha256(token.strip(b" \t")).digest()
        known = False
        for each in self._hashes:
            # Not any(): it would stop at the first.
            known |= compare_digest(each, given)
        return known
