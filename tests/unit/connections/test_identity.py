"""Keys, tags and ``ws_uri`` (protocol §1)."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from secrets import token_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.identity import KEY_BYTES, Identity, is_key, new_identity, tag_of


class IdentityTests(SynchronousTestCase):
    """A connection's names."""

    def test_a_key_has_at_least_128_random_bits(self) -> None:
        """All of the bits asked of the source of randomness are in the key."""
        asked: list[int] = []

        def source(size: int) -> bytes:
            asked.append(size)
            return bytes(range(size))

        identity = new_identity("http://localhost:8080", source)

        self.assertEqual(asked, [KEY_BYTES])
        self.assertGreaterEqual(KEY_BYTES * 8, 128)
        self.assertEqual(urlsafe_b64decode(identity.key), bytes(range(KEY_BYTES)))

    def test_the_ws_uri_is_hostname_slash_key(self) -> None:
        """WS_HOSTNAME stands as it was written; the key is the last path segment."""
        identity = new_identity("HTTPS://Push.example/a%20b", token_bytes)
        self.assertEqual(identity.ws_uri, f"HTTPS://Push.example/a%20b/{identity.key}")
        self.assertEqual(identity.ws_uri.rpartition("/")[2], identity.key)

    def test_the_tag_is_the_digest_of_the_key(self) -> None:
        """The first 22 characters of base64url(SHA-256(key)), computed here in another way."""
        identity = new_identity("h", token_bytes)
        digest = sha256(identity.key.encode()).digest()
        self.assertEqual(identity.tag, urlsafe_b64encode(digest).decode()[:22])
        self.assertEqual(identity.tag, tag_of(identity.key))

    def test_the_tag_of_a_known_key(self) -> None:
        """A fixed pair: tags must not change from one version to the next."""
        self.assertEqual(tag_of("A" * 24), "G9qfCu2AhX1DyTKUV_KLHK")

    def test_the_tag_does_not_show_the_key(self) -> None:
        """No part of the key that would help to guess it stands in the tag."""
        identity = new_identity("h", token_bytes)
        self.assertNotIn(identity.key, identity.tag)
        self.assertNotEqual(identity.key[:22], identity.tag)

    def test_two_connections_have_two_keys(self) -> None:
        """Each key takes new bytes from the source."""
        self.assertNotEqual(new_identity("h", token_bytes).key, new_identity("h", token_bytes).key)

    def test_an_identity_cannot_be_changed(self) -> None:
        """It is a value."""
        identity = Identity("k", "t", "u")
        with self.assertRaises(AttributeError):
            identity.key = "other"  # type: ignore[misc]  # that is the test

    @moderately
    @given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
    def test_every_key_is_url_safe_and_recognised(self, drawn: bytes) -> None:
        """Whatever the random bytes are, the key needs no encoding and is told from other path segments."""
        identity = new_identity("h", lambda size: drawn)
        self.assertTrue(is_key(identity.key))
        self.assertRegex(identity.key, r"\A[A-Za-z0-9_-]+\Z")
        self.assertRegex(identity.tag, r"\A[A-Za-z0-9_-]{22}\Z")

    def test_other_path_segments_are_no_keys(self) -> None:
        """Neither length nor alphabet may differ."""
        for segment in ("", "chat", "A" * 23, "A" * 25, "A" * 23 + "=", "A" * 23 + "/", "A" * 24 + "\n", "é" * 24):
            self.assertFalse(is_key(segment), segment)
