"""The tree of what can go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus

from twisted.trial.unittest import SynchronousTestCase

from wsaas import errors
from wsaas.connections.messages import ClosedBy, checked_close
from wsaas.errors import (
    CallbackFailed,
    ClientLeftError,
    Denied,
    GatewayFault,
    HandshakeRefused,
    NoAnswer,
    NoRoom,
    NoSlot,
    NotPresentError,
    NotSent,
    NotTried,
    NotVerified,
    PushRefused,
    SettingsError,
    TimedOut,
    TooSlowError,
    Unauthorized,
    Unsuccessful,
    Unusable,
    WsaasError,
)


def subclasses(cls: type[Exception]) -> Iterator[type[Exception]]:
    """:returns: the classes below a class, parents first"""
    for below in cls.__subclasses__():
        yield below
        yield from subclasses(below)


class TreeTests(SynchronousTestCase):
    """The drawing in the module's docstring."""

    def test_it_is_the_tree_of_the_classes(self) -> None:
        """Neither has a class or an edge that the other has not."""
        assert errors.__doc__ is not None
        drawn: dict[str, str] = {}
        path: list[str] = []
        for line in errors.__doc__.splitlines():
            match = re.match(r" {4}([ │]*)(?:[├└]── )?([A-Z]\w+)(?: {2,}|$)", line)
            if match is None:
                continue
            depth = 0 if "──" not in line else 1 + len(match[1]) // 4
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1] if depth else "Exception"
        classes: list[type[Exception]] = [WsaasError, *subclasses(WsaasError)]
        actual = {cls.__name__: cls.__bases__[0].__name__ for cls in classes if cls.__module__ == errors.__name__}
        self.assertEqual(drawn, actual)

    def test_all_are_of_this_package(self) -> None:
        """One except clause takes them all, and nothing else."""
        self.assertTrue(issubclass(WsaasError, Exception))
        for cls in subclasses(WsaasError):
            self.assertEqual(cls.__module__, errors.__name__, cls)


class CarriedTests(SynchronousTestCase):
    """What exceptions carry for the answer."""

    def test_a_settings_error_is_one_sentence(self) -> None:
        """It names the setting, what was given and what is allowed, in one line."""
        error = SettingsError("WS_TIMEOUT", "30\ns", "milliseconds")
        self.assertEqual(str(error), "WS_TIMEOUT: '30\\ns' cannot be used; allowed: milliseconds")
        self.assertEqual((error.name, error.given, error.allowed), ("WS_TIMEOUT", "30\ns", "milliseconds"))
        error = SettingsError("WS_LISTEN", "tls:\n", "PEM files (\n: \u2028no such file)")
        self.assertEqual(error.allowed, "PEM files (\\n: \\u2028no such file)")

    def test_refusals_carry_their_answer(self) -> None:
        """Status, words and headers; the headers cannot be changed later."""
        refused = HandshakeRefused(426, "why", "version", [(b"A", b"1")])
        self.assertEqual((refused.status, refused.reason, refused.headers), (426, "why", ((b"A", b"1"),)))
        self.assertEqual((str(refused), refused.kind), ("why", "version"))
        push = PushRefused(405, "METHOD_NOT_ALLOWED", "why", [(b"Allow", b"PUT")])
        self.assertEqual((push.status, push.code, push.message), (405, "METHOD_NOT_ALLOWED", "why"))
        self.assertEqual((push.headers, str(push)), (((b"Allow", b"PUT"),), "why"))
        self.assertEqual(
            (HandshakeRefused(400, "x", "malformed").headers, PushRefused(400, "X", "x").headers), ((), ())
        )

    def test_a_denial_carries_what_the_client_is_answered(self) -> None:
        """The API's status, and those of its headers that pass through."""
        denied = Denied("the API answered 401", 401, [(b"WWW-Authenticate", b"Basic")])
        self.assertEqual((denied.status, denied.headers), (401, ((b"WWW-Authenticate", b"Basic"),)))
        self.assertEqual((denied.reason, denied.needs_disconnect), ("the API answered 401", False))

    def test_some_only_say_what_happened(self) -> None:
        """Their callers need no more than the class."""
        for cls in (NotPresentError, TooSlowError, ClientLeftError):
            self.assertIsInstance(cls(), WsaasError)
            self.assertNotIsInstance(cls(), CallbackFailed)


class CallbackFailedTests(SynchronousTestCase):
    """What becomes of the client when a callback fails."""

    #: Protocol §2.1 to §2.3: status of a handshake, whether a DELETE is needed, close code, Ws-Closed-By.
    CONTRACT = {
        NotSent: (503, False, 1013, "unreachable"),
        NotVerified: (503, False, 1013, "unreachable"),
        NoSlot: (503, False, 1013, "unreachable"),
        NoAnswer: (502, True, 1013, "unreachable"),
        TimedOut: (504, True, 1013, "unreachable"),
        Unsuccessful: (502, True, 1013, "unreachable"),
        Unusable: (502, True, 1011, "error"),
        NoRoom: (503, True, 1013, "unreachable"),
        GatewayFault: (500, True, 1011, "error"),
        Unauthorized: (502, True, 1008, "api"),
    }

    def test_each_does_what_the_contract_says(self) -> None:
        """Denied, which has its status from the API, and NotTried, which says when to come back, aside."""
        self.assertEqual({*self.CONTRACT, NotTried, Denied}, set(subclasses(CallbackFailed)))
        for cls, (status, needs_disconnect, code, by) in self.CONTRACT.items():
            error = cls("why")
            self.assertEqual((error.status, error.needs_disconnect), (status, needs_disconnect))
            self.assertEqual((error.close_code, error.closed_by), (code, by))
            self.assertEqual((error.reason, str(error)), ("why", "why"))

    def test_each_can_be_told_to_client_and_api(self) -> None:
        """The status is an error's, the close code may be sent, ``Ws-Closed-By`` is a word of the contract."""
        for error in (*(cls("why") for cls in self.CONTRACT), Denied("why", 403)):
            self.assertGreaterEqual(HTTPStatus(error.status), 400)
            self.assertEqual(checked_close(str(error.close_code), "").code, error.close_code)
            self.assertEqual(ClosedBy(error.closed_by), error.closed_by)

    def test_503_says_when_to_come_back(self) -> None:
        """With ``Retry-After``; the others have no header of their own."""
        for cls, (status, *_) in self.CONTRACT.items():
            error = cls("why")
            self.assertEqual((error.client_retry_after, error.headers), (5 if status == 503 else None, ()), cls)

    def test_a_call_that_was_not_tried(self) -> None:
        """As one that was not sent; it says when to come back."""
        error = NotTried("why", 7)
        self.assertEqual((error.status, error.needs_disconnect, error.client_retry_after), (503, False, 7))

    def test_what_may_be_over_soon(self) -> None:
        """Then a message is tried again; an answer may say when."""
        passing = {cls for cls in self.CONTRACT if cls.passing}
        self.assertEqual(passing, {NotSent, NotVerified, NoSlot, NoAnswer, TimedOut, Unsuccessful})
        self.assertEqual((Unsuccessful("x", b"9").retry_after, NoAnswer("x").retry_after), (b"9", None))

    def test_a_message_that_was_answered_is_not_lost(self) -> None:
        """Only what the API never answered counts as undelivered."""
        self.assertEqual({cls for cls in self.CONTRACT if cls.answered}, {Unusable, NoRoom, Unauthorized})
