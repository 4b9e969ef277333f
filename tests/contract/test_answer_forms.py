"""What counts as an answer of the API, on real sockets, row by row of the page (protocol §2.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.contract.case import ContractTestCase
from tests.processes import ROOT
from tests.recording_api import OK, Answer, Call
from tests.wire import PING, PONG, Frame, frame, handshake

TAKEN = "taken"
MALFORMED = "malformed"
CUT_SHORT = "cut short"

LINE = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 14\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"e\r\n" + OK + b"\r\n0\r\n\r\n"
CHUNKED = LINE + CODING + b"\r\n"
GRANT = LINE + LENGTH + b"\r\n" + OK
LONG = b"a" * (1 << 16)


def fields(*lines: bytes) -> bytes:
    """:returns: a grant with these header lines besides"""
    return LINE + b"".join(line + b"\r\n" for line in lines) + LENGTH + b"\r\n" + OK


@dataclass(frozen=True)
class Form:
    """A row of the table.

    :param what: as the page says it, in reStructuredText
    :param effect: likewise
    :param streams: what the API sends, one of them for each call
    :param end: how the API ends the connection then; :data:`None` if it does not
    """

    what: str
    effect: str
    streams: tuple[bytes, ...]
    end: Callable[[Call], object] | None = None


def hang_up(call: Call) -> None:
    """End the connection as it should be."""
    call.hang_up()


def break_off(call: Call) -> None:
    """Have the connection break."""
    channel: Any = call.connection
    # A reset overtakes nothing that was sent in an earlier turn.
    channel.callLater(0.05, channel.transport.abortConnection)


FORMS = (
    Form(
        "``1xx`` before the answer, other than 101: skipped",
        TAKEN,
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" + GRANT,
            b"HTTP/1.1 103 Early Hints\r\nWs-Close: 4000\r\n\r\nHTTP/1.1 102 -\r\n\r\n" + GRANT,
        ),
    ),
    Form("empty lines before the answer", TAKEN, (b"\r\n" + GRANT, b"\r\n\r\n" + GRANT)),
    Form(
        "HTTP/1.0",
        TAKEN,
        tuple(b"HTTP/1.0 200 OK\r\n" + more + LENGTH + b"\r\n" + OK for more in (b"", b"Connection: keep-alive\r\n")),
    ),
    Form(
        "a status line without a phrase, or with one that is not ASCII",
        TAKEN,
        tuple(b"HTTP/1.1 200" + phrase + b"\r\n" + LENGTH + b"\r\n" + OK for phrase in (b"", b" ", b" \xe4\xf6")),
    ),
    Form(
        "neither ``Content-Length`` nor ``Transfer-Encoding``: the body ends with the connection",
        TAKEN,
        (LINE + b"\r\n" + OK, b"HTTP/1.0 200 OK\r\n\r\n" + OK),
        hang_up,
    ),
    Form(
        "chunks, with extensions or trailers; trailers ask for nothing",
        TAKEN,
        (
            CHUNKED + CHUNKS,
            CHUNKED + b'7;a=b\r\n{"code"\r\n7;c="d e"\r\n: "OK"}\r\n000\r\n\r\n',
            CHUNKED + CHUNKS.removesuffix(b"\r\n") + b"Ws-Close: 4000\r\nX: y\r\n\r\n",
        ),
    ),
    Form(
        "values that are empty, in blanks, or have bytes over 127",
        TAKEN,
        (fields(b"X:", b"X: \t a \t", b"X: \xff\xc3\xa4", b"X:\ta"),),
    ),
    Form(
        "bytes behind the answer: they count for nothing, and the connection is closed",
        TAKEN,
        (GRANT + b"x", GRANT + LINE + b"Ws-Close: 4000\r\n\r\n", CHUNKED + CHUNKS + GRANT),
    ),
    Form(
        "lines that end with a bare LF, of the head or of chunks",
        MALFORMED,
        (
            GRANT.replace(b"\r\n", b"\n"),
            fields(b"X: a\nY: b"),
            CHUNKED + CHUNKS.replace(b"\r\n", b"\n"),
        ),
    ),
    Form("folded lines", MALFORMED, (fields(b"X: a", b" b"), fields(b"X: a", b"\tb"))),
    Form(
        "header lines without a colon, without a name, or with a blank in or behind the name",
        MALFORMED,
        (fields(b"no colon"), fields(b": a"), fields(b"X : a"), fields(b"X Y: a")),
    ),
    Form(
        "control characters in values: NUL, a bare CR",
        MALFORMED,
        (fields(b"X: \x00"), fields(b"X: a\rWs-Close: 4000"), fields(b"X: \x1b[0m")),
    ),
    Form(
        "``Content-Length`` twice, even if equal, or as a list",
        MALFORMED,
        (
            fields(b"Content-Length: 14"),
            fields(b"Content-Length: 13"),
            LINE + b"Content-Length: 14, 14\r\n\r\n" + OK,
        ),
    ),
    Form(
        "``Content-Length`` that is no decimal number, or over 64 bits",
        MALFORMED,
        tuple(LINE + b"Content-Length: " + text + b"\r\n\r\n" + OK for text in (b"-1", b"+14", b"0xe", b"", b"9" * 30)),
    ),
    Form(
        "``Content-Length`` beside ``Transfer-Encoding``",
        MALFORMED,
        (LINE + LENGTH + CODING + b"\r\n" + CHUNKS, LINE + CODING + LENGTH + b"\r\n" + CHUNKS),
    ),
    Form(
        "a transfer coding other than one ``chunked``",
        MALFORMED,
        (
            LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
            LINE + CODING + CODING + b"\r\n" + CHUNKS,
        ),
    ),
    Form(
        "chunks of a bad size, longer than it, or with malformed extensions; trailers that are no header lines, or "
        "that say a length",
        MALFORMED,
        (
            CHUNKED + b"x\r\n" + OK,
            CHUNKED + b"-e\r\n" + OK,
            CHUNKED + b"1\r\n" + OK + b"\r\n0\r\n\r\n",
            CHUNKED + CHUNKS.replace(b"0\r\n", b"0;a b\r\n"),
            CHUNKED + CHUNKS.removesuffix(b"\r\n") + b"no colon\r\n\r\n",
            CHUNKED + CHUNKS.removesuffix(b"\r\n") + b"Content-Length: 14\r\n\r\n",
        ),
    ),
    Form(
        "``1xx`` of HTTP/1.0, or with ``Connection: close``",
        MALFORMED,
        (
            b"HTTP/1.0 100 Continue\r\n\r\n" + GRANT,
            b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + GRANT,
        ),
    ),
    Form(
        "101; a status below 100, or not of three digits",
        MALFORMED,
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            *(
                b"HTTP/1.1 " + status + b" OK\r\n" + LENGTH + b"\r\n" + OK
                for status in (b"099", b"20", b"2000", b"+20")
            ),
        ),
    ),
    Form(
        "another version of HTTP, or no HTTP at all",
        MALFORMED,
        (
            GRANT.replace(b"HTTP/1.1", b"HTTP/1.7"),
            b"HTTP/3.0 200 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"<html>it works</html>",
            b'{"code": "OK"}',
        ),
    ),
    Form(
        "over 64 KiB of head, of ``1xx`` before it, of chunk extensions or of trailers",
        MALFORMED,
        (
            fields(b"X: " + LONG),
            b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
            CHUNKED + b"e;" + LONG + b"a" * 200,
            CHUNKED + b"0\r\nX: " + LONG + b"a" * 200,
        ),
    ),
    Form(
        "a connection that ends before the head, the length or the last chunk does",
        CUT_SHORT,
        (b"HTTP/1.1 200 O", LINE + b"Ws-State: a\r\n", GRANT[:-1], CHUNKED + b"e\r\n" + OK + b"\r\n0\r\n"),
        hang_up,
    ),
    Form(
        "a connection that breaks within a body that was to end with it", CUT_SHORT, (LINE + b"\r\n" + OK,), break_off
    ),
)


class AnswerFormTests(ContractTestCase):
    """§2.6. A call is answered by each form: as a POST and as a PUT."""

    def script(self, form: Form, stream: bytes) -> Callable[[Call], None]:
        """:returns: what answers a call in this form"""

        def answer(call: Call) -> None:
            call.write(stream)
            if form.end is not None:
                form.end(call)
            elif form.effect == TAKEN:
                # This API waits for its own answer to be finished, and reads no other call on the connection.
                call.hang_up()

        return answer

    async def check_post(self, form: Form, stream: bytes) -> None:
        """The status that the client gets, and what the DELETE says."""
        self.api.script["POST"] = self.script(form, stream)
        client = await self.dial()
        client.send(handshake())
        reply = await client.reply()
        if reply.status == 101:
            client.send_close(1000)
        self.assertEqual(reply.status, 101 if form.effect == TAKEN else 502, (form.what, stream[:200]))
        delete = await self.api.call("DELETE")
        code = {TAKEN: "1000", MALFORMED: "1011", CUT_SHORT: "1013"}[form.effect]
        self.assertEqual(delete.header("Ws-Close-Code"), code, (form.what, stream[:200]))

    async def check_put(self, form: Form, stream: bytes) -> None:
        """Whether the client stays, and if not, the code of its Close frame."""
        self.api.script["POST"] = Answer()
        client, _ = await self.connected()
        self.api.script["PUT"] = self.script(form, stream)
        client.send_text("x")
        await self.api.call("PUT")
        if form.effect == TAKEN:
            self.api.script["PUT"] = Answer()
            client.send_text("next")
            self.assertEqual((await self.api.call("PUT")).body, b"next", (form.what, stream[:200]))
            client.send(frame(PING, b"?"))
            self.assertEqual(await client.frame(), Frame(PONG, b"?"))
            client.send_close(1000)
        else:
            code = 1011 if form.effect == MALFORMED else 1013
            self.assertEqual((await client.closed()).code, code, (form.what, stream[:200]))
        await self.api.call("DELETE")

    async def check(self, effect: str) -> None:
        """Answer by all forms that have this effect."""
        await self.serve(API_RETRY_FOR="0")
        for form in FORMS:
            if form.effect == effect:
                for stream in form.streams:
                    await self.check_post(form, stream)
                    await self.check_put(form, stream)

    async def test_taken(self) -> None:
        """A grant is one, and a message is delivered."""
        await self.check(TAKEN)

    async def test_malformed(self) -> None:
        """502 or close 1011, and a DELETE with 1011."""
        await self.check(MALFORMED)

    async def test_cut_short(self) -> None:
        """502 or close 1013, without another attempt, and a DELETE with 1013."""
        await self.check(CUT_SHORT)

    def test_the_page_has_these_rows(self) -> None:
        """No more and no fewer, in this order."""
        page = (ROOT / "docs" / "protocol.rst").read_text("utf-8")
        _, _, section = page.partition("\n2.6 ")
        table = " ".join(section.partition(".. list-table::")[2].partition("\n\n\n")[0].split())
        rows = table.partition(" - effect * - ")[2].split(" * - ")
        self.assertEqual([tuple(row.rsplit(" - ", 1)) for row in rows], [(form.what, form.effect) for form in FORMS])
