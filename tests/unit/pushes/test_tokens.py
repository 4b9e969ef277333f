"""``PUSH_TOKEN``: who may push."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.pushes import tokens
from wsaas.pushes.tokens import PushTokens


class RenewalTests(SynchronousTestCase):
    """Other tokens while the gateway runs."""

    def test_renewed(self) -> None:
        """The old ones count no more, by which who remembers what was let through can tell."""
        tokens = PushTokens([b"old"])
        before = tokens.hashes
        tokens.renew([b"new", b"newer"])
        self.assertIsNot(tokens.hashes, before)
        allowed = [tokens.allow([b"Bearer " + token]) for token in (b"old", b"new", b"newer")]
        self.assertEqual(allowed, [False, True, True])


class PushTokensTests(SynchronousTestCase):
    """Which values of ``Authorization`` let a push through."""

    tokens = PushTokens((b"new-token", b"old-token"))

    def test_without_tokens_everyone_may(self) -> None:
        """Whatever there is of a header."""
        nobody = PushTokens()
        self.assertFalse(nobody.asked_for)
        for values in ([], [b"Bearer x"], [b"a", b"b"]):
            self.assertTrue(nobody.allow(values))

    def test_each_token_lets_through(self) -> None:
        """The scheme in any case (RFC 9110 §11.1), blanks around the token."""
        self.assertTrue(self.tokens.asked_for)
        for value in (
            b"Bearer new-token",
            b"Bearer old-token",
            b"bearer new-token",
            b"BEARER old-token",
            b"Bearer  new-token ",
        ):
            self.assertTrue(self.tokens.allow([value]), value)

    def test_nothing_else_does(self) -> None:
        """A part of one, both, another scheme, two headers, none."""
        for values in (
            [],
            [b""],
            [b"Bearer"],
            [b"Bearer "],
            [b"new-token"],
            [b"Basic new-token"],
            [b"Bearer new-toke"],
            [b"Bearer new-tokenx"],
            [b"Bearer NEW-TOKEN"],
            [b"Bearer new-token old-token"],
            [b"Bearer new-token,old-token"],
            [b'Bearer "new-token"'],
            [b"Bearer=new-token"],
            [b"Bearer\tnew-token"],
            [b"Bearer new-token\0"],
            [b"Bearer new-token", b"Bearer new-token"],
            [b"Bearer wrong", b"Bearer new-token"],
        ):
            self.assertFalse(self.tokens.allow(values), values)

    @moderately
    @given(st.binary(max_size=40))
    def test_any_value_is_judged(self, value: bytes) -> None:
        """Without an exception; right ones are those with the token and blanks around it."""
        right = value.strip(b" \t") in (b"new-token", b"old-token")
        self.assertEqual(self.tokens.allow([b"Bearer " + value]), right)

    def test_all_are_compared(self) -> None:
        """In constant time, hash with hash, whichever of them is right."""
        compared: list[tuple[int, int]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return one == other

        self.patch(tokens, "compare_digest", compare)
        for value in (b"new-token", b"old-token", b"x", b"x" * 4000):
            self.tokens.allow([b"Bearer " + value])
        self.assertEqual(compared, [(32, 32)] * 8)

    def test_tokens_are_not_kept(self) -> None:
        """Only their hashes."""
        kept = [getattr(self.tokens, name) for name in PushTokens.__slots__]
        self.assertNotIn("token", repr(kept))


class ScopesTests(SynchronousTestCase):
    """``PUBLISH_TOKEN`` opens everything, ``PUSH_TOKEN`` pushes only."""

    def test_both(self) -> None:
        """Whose token opens what."""
        both = PushTokens((b"push", b"push-too"), (b"publish", b"publish-too"))
        self.assertTrue(both.asked_for)
        self.assertTrue(both.can_publish)
        for token, pushes, publishes in (
            (b"push", True, False),
            (b"push-too", True, False),
            (b"publish", True, True),
            (b"publish-too", True, True),
            (b"", False, False),
            (b"pub", False, False),
            (b"push publish", False, False),
        ):
            values = [b"Bearer " + token]
            self.assertEqual((both.allow(values), both.allow_by_name(values)), (pushes, publishes), token)
        self.assertFalse(both.allow_by_name([]))
        self.assertFalse(both.allow_by_name([b"Bearer publish"] * 2))

    def test_without_push_token(self) -> None:
        """A push needs none; what is by name does."""
        only = PushTokens((), (b"publish",))
        self.assertFalse(only.asked_for)
        for values in ([], [b"Bearer wrong"], [b"Bearer publish"]):
            self.assertTrue(only.allow(values))
            self.assertEqual(only.allow_by_name(values), values == [b"Bearer publish"])

    def test_without_publish_token(self) -> None:
        """Nothing opens what is not there; not even nothing."""
        for only in (PushTokens((b"push",)), PushTokens()):
            self.assertFalse(only.can_publish)
            for values in ([], [b"Bearer push"], [b"Bearer"], [b"Bearer "], [b""]):
                self.assertFalse(only.allow_by_name(values))

    def test_all_are_compared(self) -> None:
        """Those of the scope that is asked for, whichever of them is right, and whatever another scope has."""
        both = PushTokens((b"push", b"push-too"), (b"publish", b"publish-too", b"third"))
        compared: list[tuple[int, int]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return one == other

        self.patch(tokens, "compare_digest", compare)
        for value in (b"publish", b"third", b"push", b"push-too", b"x"):
            both.allow_by_name([b"Bearer " + value])
            self.assertEqual(compared, [(32, 32)] * 3, value)
            compared.clear()
            both.allow([b"Bearer " + value])
            self.assertEqual(compared, [(32, 32)] * 5, value)
            compared.clear()

    def test_renewed(self) -> None:
        """Both scopes at once."""
        both = PushTokens((b"push",), (b"publish",))
        before = both.hashes
        both.renew((b"push",), (b"other",))
        self.assertIsNot(both.hashes, before)
        self.assertFalse(both.allow([b"Bearer publish"]))
        self.assertTrue(both.allow_by_name([b"Bearer other"]))
        both.renew((b"push",))
        self.assertFalse(both.can_publish)
