"""The fast lane of pushes: plain, complete PUTs on a ``ws_uri``, without the objects of twisted.web.

It is asked at a request boundary only, takes the leading run of requests that it recognises to the last byte, and
leaves everything else, unread, to twisted.web. What a push means is decided where it always is: by
:meth:`wsaas.pushes.resource.PushResource.put`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twisted.logger import Logger

from wsaas.connections.identity import KEY_LENGTH
from wsaas.errors import PushRefused
from wsaas.net.http1.messages import ACCEPTED, FAULT
from wsaas.pushes.resource import SENT, PushResource, is_text, refusal

#: How many different blocks of header lines are remembered. Pushers send the same ones again and again, but for the
#: length. With ``PUSH_TOKEN`` a block holds a token, as the settings do, and is remembered if that is a right one.
_MAX_REMEMBERED = 512
#: Bytes of a head that is looked at; twisted.web allows more.
_MAX_HEAD = 4096
#: Header lines that are looked at; twisted.web allows more, but fewer than fit into such a head.
_MAX_LINES = 100

_REQUEST_LINE = re.compile(rb"PUT /(?:[\x21\x23-\x3e\x40-\x7e]*/)?([A-Za-z0-9_-]+) HTTP/1\.1")
#: The length of such a line where the key is all of the path; and what the path begins with.
_USUAL_LINE = len(b"PUT /") + KEY_LENGTH + len(b" HTTP/1.1")
_SLASH = ord("/")
#: Lines of RFC 9110 §5.5 in ASCII, none of them folded.
_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*\r\n)*")
#: Fields that a plain push does not have: each is twisted.web's business.
_NOT_PLAIN = frozenset(
    {
        b"connection",
        b"content-encoding",
        b"expect",
        b"idempotency-key",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"ws-confirm",
    }
)
#: What nearly every push is answered.
_SENT = SENT.encode()
_DIGITS = re.compile(rb"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class _Plain:
    """What the header lines of a plain push say."""

    length: int
    binary: bool


def read_lines(lines: bytes) -> _Plain | None:
    """Read the header lines of a request.

    :param lines: each with its end
    :returns: :data:`None` for whatever is not plain
    """
    if lines.count(b"\r\n") > _MAX_LINES or not _LINES.fullmatch(lines):
        return None
    length: int | None = None
    content_type: str | None = None
    host = False
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name in _NOT_PLAIN and not (name == b"connection" and value.lower() == b"keep-alive"):
            return None
        if name == b"content-length":
            if length is not None or not _DIGITS.fullmatch(value):
                return None
            length = int(value)
        elif name == b"content-type":
            if content_type is not None:
                return None
            content_type = value.decode("ascii")
        elif name == b"host":
            if host:
                return None
            host = True
    if length is None or not host:
        return None
    try:
        return _Plain(length, not is_text(content_type))
    except PushRefused:
        return None


def _authorization(lines: bytes) -> list[bytes]:
    """:returns: the values of ``Authorization`` in the header lines of a plain push"""
    fields = [line.partition(b":") for line in lines.splitlines()]
    return [value.strip(b" \t") for name, _, value in fields if name.lower() == b"authorization"]


class PushLane:
    """Takes plain pushes out of a stream of bytes.

    :param pushes: carries them out
    :param max_message: bytes of the longest message
    """

    _log = Logger()

    def __init__(self, pushes: PushResource, max_message: int) -> None:
        self._pushes = pushes
        self._max_message = max_message
        self._puts = pushes.answers[b"PUT"]
        self._tokens = pushes.tokens
        self._remembered: dict[bytes, _Plain | None] = {}
        # A token that is no longer one must not push because its headers are remembered.
        self._tokens.when_renewed(self._remembered.clear)

    def _lines(self, lines: bytes) -> _Plain | None:
        try:
            # Takes as long for nearly a right token as for any other: found by its hash, which nobody outside knows.
            return self._remembered[lines]
        except KeyError:
            plain = read_lines(lines)
            if self._tokens.asked_for and (plain is None or not self._tokens.allow(_authorization(lines))):
                # For twisted.web, and not remembered: who has no token pushes nobody's headers out of memory.
                return None
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[lines] = plain
            return plain

    def take(self, data: bytes) -> tuple[bytes, int, int, bool]:
        """Carry out the leading run of plain pushes, up to the first that is refused. A token vouches for all of them.

        :param data: what arrived, from a request boundary on
        :returns: the answers; how many bytes are used up; how many bytes the next push has in all, if it is plain, has
            somebody to go to, and only lacks the rest of its body: those who call may wait for it, else 0, and what is
            not used up is twisted.web's; and whether the last one was refused
        """
        answers: list[bytes] = []
        begin = 0
        while data.startswith(b"PUT ", begin):
            end = data.find(b"\r\n\r\n", begin, begin + _MAX_HEAD)
            line = self._line(data, begin, end)
            if line is None:
                break
            key, line_end = line
            plain = self._lines(data[line_end + 2 : end + 2])
            if plain is None or plain.length > self._max_message:
                break
            body = end + 4
            after = body + plain.length
            if after > len(data):
                if self._pushes.has(key):
                    return b"".join(answers), begin, after - begin, False
                break
            answer = self._put(key, plain.binary, data[body:after])
            if not begin and after == len(data):
                # The usual case: one push, the whole of it, and nothing else.
                return answer, after, 0, False
            answers.append(answer)
            begin = after
            if answer is not _SENT and not answer.startswith(ACCEPTED) and not self._tokens.asked_for:
                return b"".join(answers), begin, 0, True
        return b"".join(answers), begin, 0, False

    def _line(self, data: bytes, begin: int, end: int) -> tuple[str, int] | None:
        """Read a request line.

        :param end: where the head ends; negative if it does not
        :returns: the key, and where the line ends; :data:`None` for one that is not plain
        """
        line_end = begin + _USUAL_LINE
        if line_end <= end and data[line_end - 9 : line_end + 2] == b" HTTP/1.1\r\n" and data[begin + 4] == _SLASH:
            key = str(data[begin + 5 : line_end - 9], "latin-1")
            # A connection's own key, so that nothing is wrong with it.
            if self._pushes.has(key):
                return key, line_end
        line_end = data.find(b"\r\n", begin, end + 2) if end >= 0 else -1
        match = _REQUEST_LINE.fullmatch(data, begin, line_end) if line_end >= 0 else None
        return None if match is None else (str(match[1], "ascii"), line_end)

    def _put(self, key: str, binary: bool, body: bytes) -> bytes:
        try:
            answer = self._pushes.put(key, binary, body)
        except PushRefused as error:
            answer = refusal(error)
        except Exception:  # noqa: BLE001 - whatever it is, it is logged, and the answers stay in their order
            self._log.failure("a fault of the gateway")
            answer = FAULT
        self._puts[answer.status] += 1
        return _SENT if answer is SENT else answer.encode()
