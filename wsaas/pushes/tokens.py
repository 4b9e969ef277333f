"""``PUSH_TOKEN``: who may push (protocol §3)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

#: What the answer says is asked for (RFC 6750 §3).
CHALLENGE = (b"WWW-Authenticate", b"Bearer")


class PushTokens:
    """The tokens that let a push through. Only their hashes are kept.

    :param tokens: none lets everyone through
    """

    def __init__(self, tokens: Sequence[bytes] = ()) -> None:
        #: Another list once the tokens were renewed.
        self.hashes = [sha256(token).digest() for token in tokens]

    def renew(self, tokens: Sequence[bytes]) -> None:
        """Let these tokens through instead, from the next push on."""
        self.hashes = [sha256(token).digest() for token in tokens]

    @property
    def asked_for(self) -> bool:
        """Whether a push needs one."""
        return bool(self.hashes)

    def allow(self, authorization: Sequence[bytes]) -> bool:
        """Tell whether a push may pass. How long that takes depends on no token.

        :param authorization: the values of its ``Authorization`` header, one for each line it stands in
        """
        if not self.hashes:
            return True
        if len(authorization) != 1:
            return False
        scheme, _, token = authorization[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        given = sha256(token.strip(b" \t")).digest()
        known = False
        for each in self.hashes:
            # Not any(): it would stop at the first.
            known |= compare_digest(each, given)
        return known
