"""The values between the two sides, and the close codes an API may ask for (protocol §2.4 and §3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.messages import (
    MAX_REASON,
    Close,
    ClosedBy,
    Delivered,
    Grant,
    Message,
    Remembered,
    Traffic,
    checked_close,
    remember,
)

#: Protocol §3: "allowed 1000, 1001, 1003, 1007-1009, 1011-1014, 3000-4999".
ALLOWED = {1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, *range(3000, 5000)}


class CheckedCloseTests(SynchronousTestCase):
    """Close codes and reasons that come from outside."""

    def test_exactly_the_codes_of_the_contract_are_allowed(self) -> None:
        """Every number of four digits is tried."""
        accepted = set()
        for code in range(10_000):
            try:
                accepted.add(checked_close(f"{code:04}", "").code)
            except ValueError:
                continue
        self.assertEqual(accepted, ALLOWED)

    def test_codes_that_stand_for_no_close_frame_may_not_be_sent(self) -> None:
        """RFC 6455 §7.4.1: 1005, 1006 and 1015 must not stand in a Close frame; the error says what may."""
        for code in ("1004", "1005", "1006", "1015"):
            error = self.assertRaises(ValueError, checked_close, code, "")
            self.assertIn(code, str(error))
            self.assertIn("3000-4999", str(error))

    def test_a_code_is_four_ascii_digits(self) -> None:
        """What int() would take besides is refused."""
        for code in (
            "",
            "1",
            "+1000",
            " 1000",
            "1000 ",
            "1_00",
            "01000",
            "4.00",
            "\u0663\u0660\u0660\u0660",
            "\uff11\uff10\uff10\uff10",
            "1000\n",
            "x" * 99,
        ):
            error = self.assertRaises(ValueError, checked_close, code, "")
            self.assertIn("four digits", str(error))
            self.assertLess(len(str(error)), 100)

    def test_a_reason_has_at_most_123_bytes(self) -> None:
        """Bytes of UTF-8, not characters: what fits a control frame beside the code (RFC 6455 §5.5)."""
        self.assertEqual(checked_close("1000", "é" * 61 + "a").reason, "é" * 61 + "a")
        error = self.assertRaises(ValueError, checked_close, "1000", "é" * 62)
        self.assertIn("124", str(error))
        self.assertIn("123", str(error))

    def test_a_reason_that_cannot_be_utf8_is_refused(self) -> None:
        """A lone surrogate has no UTF-8."""
        error = self.assertRaises(ValueError, checked_close, "1000", "\ud800")
        self.assertNotIsInstance(error, UnicodeError)

    @moderately
    @given(st.text(max_size=8) | st.integers(0, 9999).map(str), st.text(max_size=130))
    def test_whatever_is_asked_for_fits_a_close_frame_or_is_refused(self, code: str, reason: str) -> None:
        """ValueError is all that can come besides; an accepted reason is unchanged."""
        try:
            close = checked_close(code, reason)
        except ValueError:
            return
        self.assertIn(close.code, ALLOWED)
        self.assertEqual(str(close.code), code)
        self.assertEqual(close.reason, reason)
        self.assertLessEqual(len(reason.encode("utf-8")), MAX_REASON)

    @moderately
    @given(st.sampled_from(sorted(ALLOWED)), st.text(max_size=MAX_REASON // 4))
    def test_what_is_allowed_is_accepted(self, code: int, reason: str) -> None:
        """Four bytes a character at most, so all of these reasons fit."""
        self.assertEqual(checked_close(str(code), reason), Close(code, reason))


class ValuesTests(SynchronousTestCase):
    """The values themselves."""

    def test_closed_by_is_what_stands_in_the_header(self) -> None:
        """The words of protocol §2."""
        self.assertEqual(
            {f"{by}" for by in ClosedBy},
            {"client", "api", "timeout", "slow", "protocol", "unreachable", "shutdown", "error", "crash"},
        )

    def test_an_answer_asks_for_nothing_unless_it_says_so(self) -> None:
        """A bare grant and a bare delivery change nothing; a new connection has had no traffic."""
        self.assertEqual(Grant(), Grant(protocol=None, state=None, close=None))
        self.assertEqual(Delivered(), Delivered(state=None, reply=None, close=None))
        self.assertEqual(Traffic(), Traffic(None, 0, 0, 0, 0))
        self.assertEqual(Close(1000).reason, "")

    def test_an_empty_state_is_not_no_state(self) -> None:
        """Empty removes it, absent leaves it (protocol §2.4)."""
        self.assertNotEqual(Delivered(state=""), Delivered())

    def test_a_message_keeps_its_kind(self) -> None:
        """The same bytes as text and as binary are two messages."""
        self.assertNotEqual(Message(b"a", True), Message(b"a", False))


class RememberTests(SynchronousTestCase):
    """What the API set is kept until it sets something else."""

    def test_changes(self) -> None:
        """Nothing said leaves it, empty removes it; who has neither has nothing at all."""
        known = None
        for change, expected in (
            ((None, None), None),
            (("", ""), None),
            (("s", None), Remembered("s")),
            ((None, "bob"), Remembered("s", "bob")),
            (("", None), Remembered(None, "bob")),
            (("t", ""), Remembered("t")),
            (("", None), None),
        ):
            known = remember(known, *change)
            self.assertEqual(known, expected)
