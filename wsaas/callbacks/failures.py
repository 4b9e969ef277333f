"""What the failures of an Agent mean for a callback."""

from __future__ import annotations

import re

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError  # what is no HTTP; twisted.web.client does not export it
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from wsaas.errors import CallbackFailed, NoAnswer, NotSent, NotVerified, TimedOut, Unusable
from wsaas.net.client_tls import NoHandshake, Untrusted

#: How an API says that it does not accept our certificate, or that there is none. With TLS 1.3 it does so when a
#: request may be on its way, which then is not read (RFC 8446 §4.4.2.4).
_OURS_REFUSED = re.compile(
    "alert (bad certificate|unsupported certificate|certificate (required|revoked|expired|unknown)|unknown ca)"
)


def _causes(failure: Failure) -> list[Failure]:
    """:returns: a failure and those it wraps"""
    return [failure, *(inner for reason in getattr(failure.value, "reasons", ()) for inner in _causes(reason))]


def _words(causes: list[Failure]) -> str:
    """:returns: what went wrong, for the log, without anything of what the API sent"""
    said = []
    for cause in causes:
        error = cause.value
        if isinstance(error, ParseError):
            # The bytes that could not be parsed stand behind the reason.
            said.append(str(error.args[0]) if error.args and isinstance(error.args[0], str) else "malformed")
        elif isinstance(error, ValueError):
            said.append("malformed")
        elif not getattr(error, "reasons", ()):
            said.append(cause.getErrorMessage())
    return "; ".join(said[-2:])


def why(failure: Failure, timed_out: bool, started: bool) -> CallbackFailed:
    """Tell from what an Agent failed with whether the API can have seen a call.

    :param timed_out: whether it was cancelled because its time was over
    :param started: whether the Agent is known to have begun to send the request
    :returns: the error that says what the API can have seen
    """
    error = failure.value
    if isinstance(error, CallbackFailed):
        return error
    causes = _causes(failure)
    said = _words(causes)
    unverified = next((cause for cause in causes if _is_verification(cause.value)), None)
    if unverified is not None:
        # Bytes may have been written into the TLS buffer, but none left it.
        return NotVerified(f"the API's certificate was not accepted: {unverified.getErrorMessage()}")
    unshaken = next((cause for cause in causes if _is_handshake(cause.value)), None)
    if unshaken is not None:
        return NotSent(f"no TLS with the API: {unshaken.getErrorMessage()}")
    # These say that it was sent, also where an Agent took the body in one piece.
    started = started or failure.check(ResponseNeverReceived, ResponseFailed) is not None
    if failure.check(ConnectError, DNSLookupError, ConnectingCancelledError) or not started:
        return NotSent("no connection to the API in time" if timed_out else f"no connection to the API: {said}")
    if timed_out or failure.check(CancelledError):
        return TimedOut("no complete answer in time")
    # What twisted.web raises for lengths and codings that it cannot read is a ValueError.
    if any(cause.check(ParseError, ValueError) for cause in causes):
        return Unusable(f"the answer is not HTTP: {said}")
    return NoAnswer(f"the connection ended before the answer was complete: {said}")


def _is_handshake(error: BaseException | None) -> bool:
    return isinstance(error, NoHandshake) or (isinstance(error, TLSError) and bool(_OURS_REFUSED.search(str(error))))


def _is_verification(error: BaseException | None) -> bool:
    if isinstance(error, TLSError) and any("verify failed" in str(part) for part in error.args):
        return True
    return isinstance(error, Untrusted | VerificationError)
