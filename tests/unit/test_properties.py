"""What a property test says of the example that failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import examples, run_courses


class ToldTests(SynchronousTestCase):
    """Trial prints an exception and not its notes, in which Hypothesis puts the example."""

    def test_what_was_given(self) -> None:
        """The smallest that fails, beside the reason."""

        @examples(50)
        @given(number=st.integers(0, 1000))
        def small(number: int) -> None:
            self.assertLess(number, 7)

        said = str(self.assertRaises(self.failureException, small))
        self.assertIn("7 not less than 7", said)
        self.assertIn("number=7", said)

    def test_several(self) -> None:
        """Of each way to fail, the smallest that does; also where an exception does not show what it is made of."""

        @examples(200)
        @given(data=st.sampled_from([b"", b"a", b"\x80"]))
        def text(data: bytes) -> None:
            data.decode("utf-8")
            self.assertNotIn(b"a", data)

        said = str(self.assertRaises(self.failureException, text))
        self.assertIn("UnicodeDecodeError", said)
        self.assertIn("data=b'a'", said)
        self.assertIn("data=b'\\x80'", said)

    def test_the_course(self) -> None:
        """The steps that lead there."""

        class Counts(RuleBasedStateMachine):
            count = 0

            @rule()
            def one_more(self) -> None:
                self.count += 1
                assert self.count < 3

        said = str(self.assertRaises(AssertionError, run_courses, Counts, 20, 10))
        self.assertEqual(said.count("state.one_more()"), 3)

    def test_nothing(self) -> None:
        """What holds is not told."""
        seen = []

        @examples(10)
        @given(st.booleans())
        def both(value: bool) -> None:
            seen.append(value)

        both()
        self.assertEqual(set(seen), {False, True})
