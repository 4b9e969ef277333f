"""``Ws-Except``: which connections a publish leaves out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.identity import tag_of
from wsaas.groups.left_out import MAX_LEFT_OUT, read_left_out

KEY = "AbCdEfGhIjKlMnOpQrStUvWx"
TAG = tag_of(KEY)


class LeftOutTests(SynchronousTestCase):
    """A callback's Ws-Id can be passed on as it came."""

    def test_ids_and_tags(self) -> None:
        """The first 22 characters count."""
        for value in (TAG, f"{TAG}-0", f"{TAG}-17", f"{TAG}-end", f" {TAG}-1 , ,", f"{TAG}, {TAG}-2"):
            self.assertEqual(read_left_out([value]), {TAG}, value)
        other = tag_of(KEY.swapcase())
        self.assertEqual(read_left_out([f"{TAG}-1,{other}-end", other]), {TAG, other})
        for values in ([], [""], [" , "]):
            self.assertEqual(read_left_out(values), frozenset())

    def test_what_is_none(self) -> None:
        """Too short, a key, other characters; and what is wrong is said without it."""
        for value in (TAG[:-1], KEY, f"{TAG}x", f"{TAG}-1-2", f"{TAG}-\u00e9", "self", "*", f"{TAG} {TAG}"):
            error = self.assertRaises(ValueError, read_left_out, [value])
            self.assertNotIn(KEY, str(error))

    def test_how_many(self) -> None:
        """64."""
        tags = [tag_of(f"{number:024}") for number in range(MAX_LEFT_OUT + 1)]
        self.assertEqual(len(read_left_out([", ".join(tags[1:])])), MAX_LEFT_OUT)
        self.assertIn("at most 64", str(self.assertRaises(ValueError, read_left_out, tags)))

    @moderately
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Tags or an error."""
        try:
            found = read_left_out([text])
        except ValueError:
            return
        for tag in found:
            self.assertEqual(len(tag), 22)
            self.assertIn(tag, text)
