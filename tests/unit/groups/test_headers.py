"""``Ws-Except`` and ``Ws-Slow``, as they stand in requests and answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.identity import tag_of
from wsaas.groups.headers import MAX_LEFT_OUT, read_left_out, read_slow

TAGS = st.integers().map(str).map(tag_of)


class ExceptTests(SynchronousTestCase):
    """Connections that do not get a publish."""

    @moderately
    @given(st.lists(st.lists(st.tuples(TAGS, st.sampled_from(["", "-0", "-17", "-end"])), max_size=5), max_size=5))
    def test_tags(self, lines: list[list[tuple[str, str]]]) -> None:
        """Or the ``Ws-Id`` of a callback, as it came; on one line or several, empty elements count for nothing."""
        values = [" , ,".join(tag + more for tag, more in line) for line in lines]
        self.assertEqual(read_left_out(values), {tag for line in lines for tag, _ in line})

    def test_self(self) -> None:
        """In an answer it is the connection that is answered for; a request has none."""
        tag = tag_of("a")
        self.assertEqual(read_left_out([f"self, {tag}-3"], itself=True), {"self", tag})
        self.assertRaises(ValueError, read_left_out, ["self"])

    def test_bound(self) -> None:
        """As many as the protocol says, and none more."""
        most = [tag_of(str(number)) for number in range(MAX_LEFT_OUT)]
        self.assertEqual(read_left_out([",".join(most)]), set(most))
        error = self.assertRaises(ValueError, read_left_out, [",".join(most), "self"], itself=True)
        self.assertIn("64", str(error))

    def test_others(self) -> None:
        """They are not taken for tags; what they are is not repeated, as it may be a key."""
        tag = tag_of("a")
        for text in ("x", tag[:-1], tag + "x", tag + "-\xe9", f"{tag} {tag}", tag + "-A", "*", "all", "groups/a"):
            error = self.assertRaises(ValueError, read_left_out, [text], itself=True)
            self.assertNotIn(text, str(error).split())


class SlowTests(SynchronousTestCase):
    """What a member without room costs."""

    def test_values(self) -> None:
        """Two words, at most once."""
        self.assertEqual([read_slow(values) for values in ([], ["close"], ["skip"])], [False, False, True])
        for values in ([""], ["Skip"], ["skip", "skip"], ["close", "skip"], ["close, skip"], ["drop"]):
            self.assertRaises(ValueError, read_slow, values)
