"""What the API's answers mean (protocol §2.2 to §2.4)."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.properties import moderately
from wsaas.callbacks import answers
from wsaas.callbacks.answers import (
    NO_ROUTE,
    is_grant,
    is_refused,
    is_settled,
    read_grant,
    read_last_words,
    retry_after,
)
from wsaas.connections.messages import (
    Close,
    ClosedBy,
    Delivered,
    Grant,
    Message,
    Outcome,
    Publication,
    Rejected,
    Wishes,
)
from wsaas.errors import CallbackFailed, Denied, Unauthorized, Unsuccessful, Unusable
from wsaas.groups.names import check_name, encode, read_target
from wsaas.net.http1.messages import Answer
from wsaas.settings.read import read_settings

#: ``API_RETRY_STATUS`` unless set.
RETRY_STATUS = read_settings({"API_URI": "x/"}).api.retry_status

OK = b'{"code": "OK"}'


def read_outcome(given_answer: Answer) -> Outcome:
    """:returns: what an answer to a PUT means by default"""
    return answers.read_outcome(given_answer, RETRY_STATUS)


def answer(status: int = 200, body: bytes = OK, *headers: tuple[str, str | bytes]) -> Answer:
    """:returns: an answer; a header named twice is there twice"""
    fields = Headers()
    for name, value in headers:
        fields.addRawHeader(name.encode(), value.encode() if isinstance(value, str) else value)
    return Answer(status, fields, body)


_VALUES = (
    st.binary(max_size=30)
    | st.sampled_from([b"text", b"binary", b"1000", b"4000 %C3%A9", b"1006 x", b"chat", b"gzip", b"identity", b""])
    | st.sampled_from([b"4000 " + b"a" * 200, b"a, b", b"*", b"skip", b"self", b"text all", b"text groups/..", b"%00"])
)
_NAMES = st.sampled_from(
    ["Ws-State", "Ws-Reply", "Ws-Close", "Sec-WebSocket-Protocol", "Content-Encoding", "Retry-After", "X-Other"]
) | st.sampled_from(["Ws-User", "Ws-Leave", "Ws-Join", "Ws-Publish", "Ws-Except", "Ws-Slow"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just("OK"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "x"]), inner, max_size=2),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode())
_ANSWERS = st.builds(
    lambda status, body, headers: answer(status, body, *headers),
    st.integers(100, 999),
    st.just(OK) | _JSON | st.binary(max_size=30),
    st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
)


class GrantTests(SynchronousTestCase):
    """Answers to the POST (protocol §2.2)."""

    def test_ok_is_a_grant(self) -> None:
        """With any 2xx, and further members beside the code."""
        for status in (200, 201, 202, 204, 299):
            self.assertEqual(read_grant(answer(status, b' {"x": [1], "code": "OK"}\n'), ()), Grant())

    def test_the_content_type_is_not_looked_at(self) -> None:
        """Many frameworks answer text/html unless told otherwise."""
        self.assertEqual(read_grant(answer(200, OK, ("Content-Type", "text/html")), ()), Grant())

    def test_byte_order_marks_before_the_json(self) -> None:
        """They are ignored (RFC 8259 §8.1), as many as there are: PHP writes that of each file it includes."""
        mark = b"\xef\xbb\xbf"
        for before in (mark, mark * 3, mark + b"\r\n" + mark, b"\n" + mark):
            self.assertEqual(read_grant(answer(200, before + OK), ()), Grant(), before)
            self.assertRaises(Denied, read_grant, answer(200, before + b'{"code": "NO"}'), ())
        for body in (OK + mark, mark, b"\xef\xbb" + OK, b"{" + mark + OK[1:]):
            self.assertRaises(Denied, read_grant, answer(200, body), ())

    def test_any_other_code_is_a_refusal(self) -> None:
        """403, and no DELETE is owed: the API said no."""
        for body in (
            b'{"code": "NO"}',
            b'{"code": "ok"}',
            b'{"code": ["OK"]}',
            b'{"code": true}',
            b'{"Code": "OK"}',
            b'{"code": {"code": "OK"}}',
            b'[{"code": "OK"}]',
            b'"OK"',
            b"OK",
            b"",
            b"null",
            b'{"code": "OK"',
            b'{"code": "OK"} trailing',
            b'{"code": "\xff"}',
            OK.decode().encode("utf-16"),
            b"[" * 100_000,
            b'{"code": ' + b"9" * 10_000 + b"}",
        ):
            error = self.assertRaises(Denied, read_grant, answer(200, body), ())
            self.assertEqual(error.status, 403, body[:40])
            self.assertFalse(error.needs_disconnect)

    def test_a_4xx_is_what_the_client_gets(self) -> None:
        """That status, whatever the body says."""
        for status in (400, 401, 404, 408, 425, 429, 451, 499):
            error = self.assertRaises(Denied, read_grant, answer(status), ())
            self.assertEqual((error.status, error.needs_disconnect, tuple(error.headers)), (status, False, ()))
            self.assertIn(str(status), error.reason)

    def test_two_headers_of_a_refusal_pass_through(self) -> None:
        """``WWW-Authenticate``, repeated ones repeated, and ``Retry-After``; no others."""
        refusal = answer(
            401,
            b"",
            ("WWW-Authenticate", "Basic"),
            ("www-authenticate", "Bearer"),
            ("Retry-After", "9"),
            ("Set-Cookie", "a=b"),
            ("Location", "/"),
        )
        error = self.assertRaises(Denied, read_grant, refusal, ())
        self.assertEqual(
            list(error.headers),
            [(b"WWW-Authenticate", b"Basic"), (b"WWW-Authenticate", b"Bearer"), (b"Retry-After", b"9")],
        )

    def test_a_5xx_is_502(self) -> None:
        """And the DELETE is owed: the API may have let the client in before it failed."""
        for status in (500, 502, 503, 504, 599):
            error = self.assertRaises(Unsuccessful, read_grant, answer(status), ())
            self.assertEqual((error.status, error.needs_disconnect), (502, True))

    def test_a_redirect_is_502(self) -> None:
        """It is not followed; nor does any other odd status let anyone in."""
        for status in (100, 101, 300, 301, 302, 304, 307, 308):
            error = self.assertRaises(Unusable, read_grant, answer(status, OK, ("Location", "/")), ())
            self.assertEqual((error.status, error.needs_disconnect), (502, True))

    def test_an_encoded_answer_is_502(self) -> None:
        """Only identity was asked for; what is inside is not known, so it is no refusal either."""
        error = self.assertRaises(Unusable, read_grant, answer(200, b"\x1f\x8b", ("Content-Encoding", "gzip")), ())
        self.assertEqual((error.status, error.needs_disconnect), (502, True))
        self.assertIn("(gzip)", error.reason)
        for value in ("Identity ", "", "identity,", ", identity, identity"):
            self.assertEqual(read_grant(answer(200, OK, ("Content-Encoding", value)), ()), Grant(), value)
        self.assertRaises(Unusable, read_grant, answer(200, OK, ("Content-Encoding", "identity, gzip")), ())

    def test_the_subprotocol_is_one_that_the_client_offered(self) -> None:
        """As it was offered, case included (RFC 6455 §11.3.4 has them case-sensitive)."""
        named = answer(200, OK, ("Sec-WebSocket-Protocol", "chat.v1"))
        self.assertEqual(read_grant(named, ("other", "chat.v1")).protocol, "chat.v1")
        for offered in ((), ("other",), ("Chat.v1",), ("chat.v1x",)):
            error = self.assertRaises(Unusable, read_grant, named, offered)
            self.assertEqual(error.status, 502)
            self.assertIn("subprotocol", error.reason)
            # Some clients have no better place for a token.
            self.assertNotIn("chat.v1", error.reason)

    def test_none_named_is_the_only_one_offered(self) -> None:
        """If several were, none; an empty header names none."""
        for fields in ((), (("Sec-WebSocket-Protocol", ""),)):
            self.assertEqual(read_grant(answer(200, OK, *fields), ("a",)).protocol, "a")
            self.assertIsNone(read_grant(answer(200, OK, *fields), ("a", "b")).protocol)
            self.assertIsNone(read_grant(answer(200, OK, *fields), ()).protocol)

    def test_two_named_are_none_too_many(self) -> None:
        """A server answers with one (RFC 6455 §4.2.2)."""
        twice = answer(200, OK, ("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b"))
        self.assertRaises(Unusable, read_grant, twice, ("a", "b"))
        self.assertRaises(Unusable, read_grant, answer(200, OK, ("Sec-WebSocket-Protocol", "a, b")), ("a", "b"))

    def test_accept_then_close(self) -> None:
        """The only refusal whose reason a browser can read."""
        grant = read_grant(answer(200, OK, ("Ws-Close", "4001 full%20house")), ())
        self.assertEqual(grant.close, Close(4001, "full house"))

    def test_a_first_state(self) -> None:
        """Kept with the connection from the start."""
        self.assertEqual(read_grant(answer(200, OK, ("Ws-State", "user=7")), ()).state, "user=7")

    def test_an_unusable_state_refuses_the_client(self) -> None:
        """With 502; and the DELETE is owed, since the API believes that the client is in."""
        for value in ("é", "a" * 1025, "a\tb"):
            error = self.assertRaises(Unusable, read_grant, answer(200, OK, ("Ws-State", value)), ())
            self.assertEqual((error.status, error.needs_disconnect), (502, True))

    def test_an_unusable_close_closes_all_the_same(self) -> None:
        """With 1011 (protocol §2.4): the API wanted to accept, then close; the fault is not the client's."""
        for value in ("1006", "4000 %FF", "bye", ""):
            grant = read_grant(answer(200, OK, ("Ws-Close", value)), ())
            assert grant.close is not None
            self.assertEqual((grant.close.code, grant.closed_by), (1011, ClosedBy.ERROR), value)

    def test_a_refusal_with_an_unusable_header_is_a_refusal(self) -> None:
        """What it asks for does not matter any more."""
        error = self.assertRaises(Denied, read_grant, answer(200, b"{}", ("Ws-State", "é")), ())
        self.assertEqual(error.status, 403)

    def test_a_reply_has_no_meaning_here(self) -> None:
        """``Ws-Reply`` is for PUT."""
        self.assertEqual(read_grant(answer(200, OK, ("Ws-Reply", "nonsense")), ()), Grant())

    @moderately
    @given(_ANSWERS, st.lists(st.sampled_from(["chat", "a", "b"]), max_size=3, unique=True))
    def test_any_answer_is_a_grant_or_fails_in_a_known_way(self, drawn: Answer, offered: list[str]) -> None:
        """Whatever its status, headers and body."""
        try:
            grant = read_grant(drawn, offered)
        except CallbackFailed as error:
            if isinstance(error, Denied):
                self.assertFalse(error.needs_disconnect)
                self.assertTrue(error.status == 403 or error.status == drawn.status)
            else:
                self.assertTrue(error.needs_disconnect)
                self.assertEqual(error.status, 502)
            return
        self.assertTrue(200 <= drawn.status < 300 and is_grant(drawn))
        self.assertIn(grant.protocol, (None, *offered))


class OutcomeTests(SynchronousTestCase):
    """Answers to a PUT (protocol §2.3 and §2.4)."""

    def test_any_2xx_delivers(self) -> None:
        """The body is ignored."""
        for status in (200, 201, 204, 299):
            self.assertEqual(read_outcome(answer(status, b"\xff")), Delivered())

    def test_401_ends_the_connection_with_1008(self) -> None:
        """The credentials no longer hold; it was the API's doing."""
        error = self.assertRaises(Unauthorized, read_outcome, answer(401))
        self.assertEqual((error.close_code, error.closed_by, error.answered), (1008, "api", True))

    def test_a_status_that_promises_success_later(self) -> None:
        """Exactly those of ``API_RETRY_STATUS``; in the end 1013. It may say when."""
        self.assertEqual(RETRY_STATUS, {408, 425, 429, 502, 503, 504})
        for status in RETRY_STATUS:
            error = self.assertRaises(Unsuccessful, read_outcome, answer(status))
            self.assertEqual((error.close_code, error.closed_by), (1013, "unreachable"))
            self.assertIsNone(error.retry_after)
        error = self.assertRaises(Unsuccessful, read_outcome, answer(503, b"", ("Retry-After", "7")))
        self.assertEqual(error.retry_after, b"7")

    def test_other_statuses_may_be_named(self) -> None:
        """In place of those."""
        self.assertRaises(Unsuccessful, answers.read_outcome, answer(500), {500})
        self.assertEqual(answers.read_outcome(answer(503), {500}), Rejected(503))

    def test_any_other_status_refuses_this_message_only(self) -> None:
        """Redirects and plain 500 too."""
        for status in (100, 301, 302, 304, 400, 403, 404, 409, 410, 413, 422, 500, 501, 505):
            self.assertEqual(read_outcome(answer(status, OK, ("Ws-Close", "4000"))), Rejected(status))

    def test_a_reply(self) -> None:
        """The body, byte for byte; an empty one is an empty message."""
        self.assertEqual(
            read_outcome(answer(200, "é".encode(), ("Ws-Reply", "text"))), Delivered(reply=Message("é".encode(), False))
        )
        self.assertEqual(
            read_outcome(answer(200, b"\xff\0", ("Ws-Reply", "binary"))), Delivered(reply=Message(b"\xff\0", True))
        )
        self.assertEqual(read_outcome(answer(204, b"", ("Ws-Reply", "text"))), Delivered(reply=Message(b"", False)))

    def test_a_reply_that_cannot_be_sent(self) -> None:
        """Close 1011: not UTF-8 as text, another value, or encoded."""
        for unusable in (
            answer(200, b"\xff", ("Ws-Reply", "text")),
            answer(200, b"\xed\xa0\x80", ("Ws-Reply", "text")),
            answer(200, b"", ("Ws-Reply", "")),
            answer(200, b"", ("Ws-Reply", "Text")),
            answer(200, b"", ("Ws-Reply", "json" * 100)),
            answer(200, b"", ("Ws-Reply", "text"), ("Ws-Reply", "text")),
            answer(200, b"", ("Ws-Reply", "text"), ("Content-Encoding", "gzip")),
            answer(200, b"", ("Ws-Reply", b"\xe9")),
        ):
            error = self.assertRaises(Unusable, read_outcome, unusable)
            self.assertEqual((error.close_code, error.closed_by, error.answered), (1011, "error", True))
            self.assertLess(len(error.reason), 200)

    def test_an_encoded_body_that_nobody_reads(self) -> None:
        """Without a reply bodies are ignored."""
        self.assertEqual(read_outcome(answer(200, b"\x1f", ("Content-Encoding", "gzip"))), Delivered())

    def test_a_state(self) -> None:
        """All of printable ASCII, 1024 bytes of it; empty removes, absent leaves."""
        printable = "".join(map(chr, range(0x21, 0x7F)))
        self.assertEqual(read_outcome(answer(200, b"", ("Ws-State", printable))), Delivered(state=printable))
        self.assertEqual(read_outcome(answer(200, b"", ("Ws-State", "a b"))), Delivered(state="a b"))
        self.assertEqual(read_outcome(answer(200, b"", ("Ws-State", "a" * 1024))), Delivered(state="a" * 1024))
        self.assertEqual(read_outcome(answer(200, b"", ("Ws-State", ""))), Delivered(state=""))
        self.assertIsNone(self.delivered(answer()).state)

    def delivered(self, given_answer: Answer) -> Delivered:
        """:returns: the outcome, which has to be a delivery"""
        outcome = read_outcome(given_answer)
        assert isinstance(outcome, Delivered)
        return outcome

    def test_a_state_that_breaks_its_bounds(self) -> None:
        """Close 1011."""
        for value in ("a" * 1025, "é", b"\xff", "a\tb", "a\x7f", "\x00"):
            error = self.assertRaises(Unusable, read_outcome, answer(200, b"", ("Ws-State", value)))
            self.assertEqual(error.close_code, 1011)
        self.assertRaises(Unusable, read_outcome, answer(200, b"", ("Ws-State", "a"), ("Ws-State", "a")))

    def test_a_close(self) -> None:
        """The reason is percent-decoded and may be missing."""
        for text, close in (
            ("1000", Close(1000)),
            ("4001 bye", Close(4001, "bye")),
            ("4001  so long ", Close(4001, "so long")),
            ("4001 caf%C3%A9%20100%25", Close(4001, "café 100%")),
            ("4001 50% off", Close(4001, "50% off")),
            ("4001 a+b", Close(4001, "a+b")),
        ):
            self.assertEqual(read_outcome(answer(200, b"", ("Ws-Close", text))), Delivered(close=close), text)

    def test_a_close_that_cannot_be_sent(self) -> None:
        """Close 1011 instead, and the log says why."""
        for text in ("", "bye", "1005", "1006", "1015", "2999", "5000", "4001bye", "04001", "4001 %FF", "4001 é"):
            error = self.assertRaises(Unusable, read_outcome, answer(200, b"", ("Ws-Close", text)))
            self.assertEqual(error.close_code, 1011)
            self.assertIn("Ws-Close", error.reason)
        too_long = answer(200, b"", ("Ws-Close", "4001 " + "a" * 124))
        self.assertIn("123", self.assertRaises(Unusable, read_outcome, too_long).reason)

    def test_all_at_once(self) -> None:
        """State, reply and close in one answer."""
        headers = (("Ws-State", "s"), ("Ws-Reply", "binary"), ("Ws-Close", "1000"))
        self.assertEqual(read_outcome(answer(200, b"x", *headers)), Delivered("s", Message(b"x", True), Close(1000)))

    @moderately
    @given(st.sampled_from([1000, 1013, 3000, 4999]), st.text(max_size=30))
    def test_every_reason_survives_percent_encoding(self, code: int, reason: str) -> None:
        """Encoded as Python's quote() does it, which other languages have too."""
        outcome = read_outcome(answer(200, b"", ("Ws-Close", f"{code} {quote(reason, safe='')}")))
        self.assertEqual(outcome, Delivered(close=Close(code, reason)))

    @moderately
    @given(_ANSWERS)
    def test_any_answer_is_an_outcome_or_fails_in_a_known_way(self, drawn: Answer) -> None:
        """Whatever its status, headers and body; what is delivered can be sent."""
        try:
            outcome = read_outcome(drawn)
        except CallbackFailed as error:
            self.assertTrue(drawn.status < 300 or drawn.status in RETRY_STATUS or drawn.status == 401)
            self.assertIn(error.close_code, (1008, 1011, 1013))
            return
        if isinstance(outcome, Rejected):
            self.assertFalse(200 <= drawn.status < 300)
        elif outcome.reply is not None:
            self.assertEqual(outcome.reply.payload, drawn.body)
            self.assertTrue(outcome.reply.binary or drawn.body.decode("utf-8") is not None)


class CutTests(SynchronousTestCase):
    """Bodies that are longer than is accepted, of which nothing is kept."""

    @staticmethod
    def cut(status: int, *headers: tuple[str, str | bytes]) -> Answer:
        """:returns: an answer without its body"""
        return replace(answer(status, b"", *headers), cut=1000)

    def test_where_the_body_counts(self) -> None:
        """In a grant and in a reply: what is asked for is not known."""
        for error in (
            self.assertRaises(Unusable, read_grant, self.cut(200), ()),
            self.assertRaises(Unusable, read_outcome, self.cut(200, ("Ws-Reply", "text"))),
            self.assertRaises(Unusable, read_outcome, self.cut(201, ("Ws-Reply", "binary"))),
        ):
            self.assertIn("longer than 1000 bytes", error.reason)

    def test_elsewhere(self) -> None:
        """Status and headers say all: error pages may be as long as they like."""
        self.assertEqual(self.assertRaises(Denied, read_grant, self.cut(403), ()).status, 403)
        self.assertRaises(Unsuccessful, read_grant, self.cut(500), ())
        self.assertRaises(Unauthorized, read_outcome, self.cut(401))
        for status in RETRY_STATUS:
            error = self.assertRaises(Unsuccessful, read_outcome, self.cut(status, ("Retry-After", "7")))
            self.assertEqual(error.retry_after, b"7")
        for status in (302, 404, 500):
            self.assertEqual(read_outcome(self.cut(status, ("Ws-Reply", "text"))), Rejected(status))
        self.assertEqual(read_outcome(self.cut(200)), Delivered())
        self.assertEqual(read_outcome(self.cut(200, ("Ws-State", "a"))), Delivered("a"))
        self.assertTrue(is_settled(self.cut(200)))
        self.assertTrue(is_refused(self.cut(404)))


class SettledTests(SynchronousTestCase):
    """Answers to a DELETE (protocol §2.3)."""

    def test_2xx_and_410_settle_it(self) -> None:
        """410 says that the API has forgotten the connection already; 405 and 501 that it does not care."""
        for status in range(100, 600):
            settled = 200 <= status < 300 or status in (405, 410, 501)
            self.assertEqual(is_settled(answer(status)), settled, status)

    def test_405_and_501_say_that_there_is_no_route(self) -> None:
        """Done too, with a warning."""
        self.assertEqual(NO_ROUTE, {405, 501})

    def test_what_promises_nothing(self) -> None:
        """Redirects and refusals, but not "not now", and no 5xx."""
        for status in (301, 302, 400, 401, 403, 404, 409):
            self.assertTrue(is_refused(answer(status)), status)
        for status in (408, 425, 429, 500, 502, 503, 504, 599):
            self.assertFalse(is_refused(answer(status)), status)

    def test_retry_after(self) -> None:
        """The first of several."""
        self.assertIsNone(retry_after(answer(503)))
        self.assertEqual(retry_after(answer(503, b"", ("Retry-After", "1"), ("Retry-After", "2"))), b"1")


def is_name(text: str) -> bool:
    """:returns: whether this may be the name of a group"""
    try:
        check_name(text)
    except ValueError:
        return False
    return True


NAMES = st.text(min_size=1, max_size=20).filter(is_name)
TAG = "XRCeV4OdVF7LQ7d004BRLy"
#: Texts that are no name, and would become another one, two, or none if somebody decoded them generously.
NO_NAMES = (
    "a b",
    "%",
    "%4",
    "%zz",
    "é",
    "%E9",
    "%00",
    "%0A",
    ".",
    "..",
    "%2E%2E",
    "a/b",
    "*",
    "a*",
    "a;b",
    "x" * 65,
    "a%",
)


class WishTests(SynchronousTestCase):
    """What answers ask for about users and groups (protocol §2.4)."""

    def wishes(self, *headers: tuple[str, str | bytes], body: bytes = b"") -> Wishes | None:
        """:returns: what an answer to a PUT asks for"""
        outcome = read_outcome(answer(200, body, *headers))
        assert isinstance(outcome, Delivered)
        return outcome.wishes

    def refused(self, *headers: tuple[str, str | bytes], body: bytes = b"") -> str:
        """:returns: why such an answer to a PUT closes with 1011"""
        error: Unusable = self.assertRaises(Unusable, read_outcome, answer(200, body, *headers))
        self.assertEqual((error.close_code, error.closed_by, error.answered), (1011, "error", True))
        return error.reason

    def test_nothing(self) -> None:
        """Most answers ask for nothing of it; what belongs to a publish means nothing without one."""
        self.assertIsNone(self.wishes())
        self.assertIsNone(self.wishes(("Ws-Reply", "text"), ("Ws-Except", "nonsense"), ("Ws-Slow", "nonsense")))

    def test_a_user(self) -> None:
        """One name; empty removes it; it may stand there twice."""
        for values, user in ((["bob"], "bob"), (["%C3%BCnal%2C%20x"], "ünal, x"), ([""], ""), (["a", "a", ""], "a")):
            self.assertEqual(self.wishes(*[("Ws-User", value) for value in values]), Wishes(user))
        self.assertIn("2 names", self.refused(("Ws-User", "a, b")))
        self.assertIn("2 names", self.refused(("Ws-User", "a"), ("Ws-User", "b")))

    @moderately
    @given(st.lists(st.lists(NAMES, max_size=4), max_size=3), st.sampled_from(["Ws-Join", "Ws-Leave"]))
    def test_groups(self, lines: list[list[str]], header: str) -> None:
        """Lists on any number of lines, in their order, each name once, whatever is in it."""
        headers = [(header, ", ".join(map(encode, line))) for line in lines]
        names = tuple(dict.fromkeys(name for line in lines for name in line))
        expected = Wishes(join=names) if header == "Ws-Join" else Wishes(leave=names)
        self.assertEqual(self.wishes(*headers), expected if lines else None)

    def test_leave_all(self) -> None:
        """``*`` by itself; a group of this name is written with percent."""
        for values in (["*"], ["*,"], [" , *", ""]):
            self.assertEqual(self.wishes(*[("Ws-Leave", value) for value in values]), Wishes(leaves_all=True), values)
        self.assertEqual(self.wishes(("Ws-Leave", "%2A")), Wishes(leave=("*",)))
        for values in (["*, a"], ["*", "a"], ["*", "*"]):
            self.refused(*[("Ws-Leave", value) for value in values])

    def test_no_names(self) -> None:
        """Each is an error, and the log does not repeat it."""
        for text in NO_NAMES:
            for header, before in (
                ("Ws-User", ""),
                ("Ws-Join", "ok, "),
                ("Ws-Leave", "ok, "),
                ("Ws-Publish", "text groups/"),
                ("Ws-Publish", "text all, users/"),
            ):
                reason = self.refused((header, before + text))
                self.assertIn(header, reason)
                self.assertFalse(len(text) > 2 and text in reason, reason)
        for text in ("", "all/", "group/a", "a", "groups", "groups/", "users/", "ALL", "http://h/key", ","):
            self.refused(("Ws-Publish", f"text {text}"))

    @moderately
    @given(st.lists(NAMES, min_size=1, max_size=4), st.lists(NAMES, max_size=2), st.booleans(), st.booleans())
    def test_a_publication(self, groups: list[str], users: list[str], everyone: bool, binary: bool) -> None:
        """The body to all targets, each once."""
        targets = [f"groups/{encode(name)}" for name in groups] + [f"users/{encode(name)}" for name in users]
        targets += ["all"] * everyone
        value = f"{'binary' if binary else 'text'} {', '.join(targets)}"
        decoded = tuple(dict.fromkeys(map(read_target, targets)))
        expected = Wishes(publication=Publication(decoded, Message(b"hello", binary)))
        self.assertEqual(self.wishes(("Ws-Publish", value), body=b"hello"), expected)

    def test_left_out(self) -> None:
        """By tag or ``Ws-Id``, or the sender itself; beside a reply it is left out in any case."""
        publish = ("Ws-Publish", "text all")
        for headers, left_out in (
            ([], set()),
            ([("Ws-Except", "self")], {"self"}),
            ([("Ws-Except", f"{TAG}-17, self"), ("Ws-Except", "A" * 22)], {TAG, "self", "A" * 22}),
            ([("Ws-Reply", "binary")], {"self"}),
            ([("Ws-Reply", "text"), ("Ws-Except", TAG)], {"self", TAG}),
        ):
            wishes = self.wishes(publish, *headers)
            assert wishes is not None and wishes.publication is not None
            self.assertEqual(wishes.publication.left_out, left_out)
            self.assertEqual(wishes.publication.by(TAG).left_out, {TAG if tag == "self" else tag for tag in left_out})
        for value in ("me", TAG[1:], "é", ", ".join([TAG] * 65)):
            self.assertIn("Ws-Except", self.refused(publish, ("Ws-Except", value)))

    def test_slow(self) -> None:
        """Close or skip, once."""
        publish = ("Ws-Publish", "text all")
        for headers, skips in (([], False), ([("Ws-Slow", "close")], False), ([("Ws-Slow", "skip")], True)):
            wishes = self.wishes(publish, *headers)
            assert wishes is not None and wishes.publication is not None
            self.assertEqual(wishes.publication.skips_slow, skips)
        for values in ([""], ["SKIP"], ["skip", "skip"]):
            self.assertIn("Ws-Slow", self.refused(publish, *[("Ws-Slow", value) for value in values]))

    def test_no_publication(self) -> None:
        """One line; text is UTF-8; nothing encoded."""
        for headers, body in (
            ([("Ws-Publish", "text all"), ("Ws-Publish", "text all")], b""),
            ([("Ws-Publish", "")], b""),
            ([("Ws-Publish", "all")], b""),
            ([("Ws-Publish", "Text all")], b""),
            ([("Ws-Publish", "textall")], b""),
            ([("Ws-Publish", b"text groups/\xe9")], b""),
            ([("Ws-Publish", "text all")], b"\xff"),
            ([("Ws-Publish", "binary all"), ("Content-Encoding", "br")], b""),
        ):
            self.refused(*headers, body=body)
        cut = replace(answer(200, b"", ("Ws-Publish", "binary all")), cut=9)
        self.assertIn("9 bytes", self.assertRaises(Unusable, read_outcome, cut).reason)

    def test_all_at_once(self) -> None:
        """Beside state, reply and close."""
        headers = [
            ("Ws-State", "s"),
            ("Ws-User", "u"),
            ("Ws-Leave", "*"),
            ("Ws-Join", "a, b"),
            ("Ws-Join", "c"),
            ("Ws-Publish", "binary groups/a"),
            ("Ws-Reply", "text"),
            ("Ws-Close", "4000"),
        ]
        publication = Publication(("groups/a",), Message(b"x", True), frozenset({"self"}))
        wishes = Wishes("u", True, (), ("a", "b", "c"), publication)
        expected = Delivered("s", Message(b"x", False), Close(4000), wishes)
        self.assertEqual(read_outcome(answer(200, b"x", *headers)), expected)

    def test_grants(self) -> None:
        """A user and groups; what only an answer to a PUT may ask for means nothing."""
        headers = [("Ws-User", "%c3%bc"), ("Ws-Join", "a"), ("Ws-Join", "b")]
        others = [("Ws-Leave", "a b"), ("Ws-Publish", "nonsense"), ("Ws-Except", "x")]
        self.assertEqual(read_grant(answer(200, OK, *headers, *others), ()), Grant(wishes=Wishes("ü", join=("a", "b"))))
        grant = read_grant(answer(200, OK, *headers, ("Ws-Close", "x")), ())
        self.assertEqual(grant, Grant(None, None, Close(1011), ClosedBy.ERROR, Wishes("ü", join=("a", "b"))))
        for text in NO_NAMES:
            for header in ("Ws-User", "Ws-Join"):
                error = self.assertRaises(Unusable, read_grant, answer(200, OK, (header, text)), ())
                self.assertEqual((error.status, error.needs_disconnect, error.closed_by), (502, True, "error"))

    def test_last_words(self) -> None:
        """What the answer to a DELETE publishes; nothing else of it counts, and only with a 2xx."""
        headers = [("Ws-Publish", "text all"), ("Ws-Except", "self"), ("Ws-Slow", "skip"), ("Ws-Join", "a b")]
        publication = Publication(("all",), Message(b"Bob left", False), frozenset({"self"}), True)
        self.assertEqual(read_last_words(answer(204, b"Bob left", *headers)), publication)
        self.assertIsNone(read_last_words(answer(410, b"Bob left", *headers)))
        self.assertIsNone(read_last_words(answer(200, b"", ("Ws-User", "a b"))))
        self.assertRaises(Unusable, read_last_words, answer(200, b"\xff", *headers))

    @moderately
    @given(_ANSWERS)
    def test_any_answer_to_a_delete(self, drawn: Answer) -> None:
        """It publishes something that can be sent, or nothing, or fails in a known way."""
        try:
            publication = read_last_words(drawn)
        except Unusable:
            return
        if publication is not None:
            self.assertTrue(publication.targets)
            self.assertLessEqual(len(publication.left_out), 64)
