"""What the failures of an Agent mean."""

from __future__ import annotations

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionLost, DNSLookupError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from wsaas.callbacks.failures import why
from wsaas.errors import NoAnswer, NotSent, NotVerified, TimedOut, Unusable
from wsaas.net.client_tls import NoHandshake, Untrusted
from wsaas.net.http1.parser import MalformedAnswer


def wrapped(error: Exception) -> ResponseNeverReceived:
    """:returns: what an Agent makes of it"""
    return ResponseNeverReceived([Failure(error)])


class WhyTests(SynchronousTestCase):
    """Whether the API can have seen the call."""

    def check(self, kind: type[Exception], error: Exception, *, timed_out: bool = False, started: bool = True) -> None:
        """It is sorted so."""
        self.assertIs(type(why(Failure(error), timed_out, started)), kind)

    def test_no_connection(self) -> None:
        """It cannot, if none was made, or the request was not begun."""
        for error in (ConnectError(), DNSLookupError(), ConnectingCancelledError(None)):
            for timed_out in (False, True):
                self.check(NotSent, error, timed_out=timed_out)
        self.check(NotSent, CancelledError(), timed_out=True, started=False)
        self.check(NotSent, ZeroDivisionError(), started=False)

    def test_tls(self) -> None:
        """It cannot, if TLS was refused by either end."""
        self.check(NotVerified, wrapped(TLSError([("SSL routines", "", "certificate verify failed")])))
        self.check(NotVerified, wrapped(Untrusted("it has expired")))
        self.check(NotSent, wrapped(NoHandshake([("SSL routines", "", "wrong version number")])))
        self.check(NotSent, wrapped(TLSError([("SSL routines", "", "tlsv13 alert certificate required")])))

    def test_tls_that_breaks_later(self) -> None:
        """Is no sign that the API has not had it, whatever somebody slips in."""
        self.check(NoAnswer, wrapped(TLSError([("SSL routines", "", "wrong version number")])))

    def test_sent(self) -> None:
        """It can, if the request was begun; what came instead of an answer makes the difference."""
        self.check(NoAnswer, wrapped(ConnectionLost()))
        self.check(NoAnswer, wrapped(CancelledError()))
        self.check(TimedOut, wrapped(CancelledError()), timed_out=True)
        self.check(TimedOut, CancelledError())
        self.check(Unusable, ResponseFailed([Failure(MalformedAnswer("no HTTP"))]))
        self.check(Unusable, ResponseFailed([Failure(ValueError("a length of x"))]))
