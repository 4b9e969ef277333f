"""``PUSH_TOKEN`` and ``PUBLISH_TOKEN``: who may push, and who may do what is by name (protocol §3 and §6)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

#: What the answer says is asked for (RFC 6750 §3).
CHALLENGE = (b"WWW-Authenticate", b"Bearer")


def _hashes(tokens: Sequence[bytes]) -> list[bytes]:
    return [sha256(token).digest() for token in tokens]


def _is_one_of(hashes: Sequence[bytes], authorization: Sequence[bytes]) -> bool:
    """:returns: whether a request brought one of these tokens, and nothing else. How long that takes depends on none"""
    if len(authorization) != 1:
        return False
    scheme, _, token = authorization[0].partition(b" ")
    if scheme.lower() != b"bearer":
        return False
    given = sha256(token.strip(b" \t")).digest()
    known = False
    for each in hashes:
        # Not any(): it would stop at the first.
        known |= compare_digest(each, given)
    return known


class PushTokens:
    """The tokens that let requests through, in two scopes. Only their hashes are kept.

    A token of ``PUSH_TOKEN`` is for whoever has a ``ws_uri``; one of ``PUBLISH_TOKEN`` opens everything.

    :param tokens: ``PUSH_TOKEN``; none lets every push through
    :param publishing: ``PUBLISH_TOKEN``; without one there is nothing by name
    """

    __slots__ = ("_publishing", "hashes")

    def __init__(self, tokens: Sequence[bytes] = (), publishing: Sequence[bytes] = ()) -> None:
        self.renew(tokens, publishing)

    def renew(self, tokens: Sequence[bytes], publishing: Sequence[bytes] = ()) -> None:
        """Let these tokens through instead, from the next request on."""
        self._publishing = _hashes(publishing)
        #: Of the tokens that open pushes, if those need one. Another list once the tokens were renewed.
        self.hashes: list[bytes] = _hashes(tokens) + self._publishing if tokens else []

    @property
    def asked_for(self) -> bool:
        """Whether a push needs one."""
        return bool(self.hashes)

    @property
    def can_publish(self) -> bool:
        """Whether there are tokens for what is by name, so that it exists."""
        return bool(self._publishing)

    def allow(self, authorization: Sequence[bytes]) -> bool:
        """Tell whether a push may pass. How long that takes depends on no token.

        :param authorization: the values of its ``Authorization`` header, one for each line it stands in
        """
        return not self.hashes or _is_one_of(self.hashes, authorization)

    def allow_by_name(self, authorization: Sequence[bytes]) -> bool:
        """Tell whether a request may do what is by name. How long that takes depends on no token."""
        return _is_one_of(self._publishing, authorization)
