"""Files in ``STATE_DIR``: whatever is in one, it is refused with a reason, or its debts are paid."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.inputs import Draw
from fuzz.scene import check_rest, numbered, settle
from fuzz.watch import watch
from tests.gate import Gate
from wsaas.callbacks.journal_file import Batch, JournalFile
from wsaas.connections.messages import Close, ClosedBy, End, Remembered
from wsaas.errors import JournalError

_SCRATCH = TemporaryDirectory(prefix="fuzz-")
_FOLDER = Path(_SCRATCH.name)
_PATH = _FOLDER / "journal.db"
_COLUMNS = ("id", "ws_uri", "path", "client", "state", "code", "reason", "closed_by", "undelivered", "ended_at", "user")
#: What a row may hold that was never written: each is a SQL expression.
_ODD = (
    "NULL",
    "''",
    "'a'",
    "X'ff'",
    "0",
    "-1",
    "1000",
    "9223372036854775807",
    "1e308",
    "9e999",
    "-9e999",
    "0.5",
    "'%ff'",
    "'client'",
    "'a' || char(13, 10) || 'b'",
    "char(252)",
    "char(0)",
    "replace(hex(zeroblob(3000)), '0', 'a')",
    "'http://gateway.test/'",
)


def _sample() -> bytes:
    """:returns: a journal's file with three debts"""
    _clear()
    file = JournalFile(_PATH)
    file.open()
    batch = Batch()
    for number in range(1, 4):
        uri = numbered("http://gateway.test", number).ws_uri
        batch.opened.append((number, uri, "/chat?a=b", "192.0.2.1"))
        batch.remember(number, Remembered("state", "ünal"))
    batch.end(1, End(Close(4000, "bye ü"), ClosedBy.API), 2, 1_700_000_000.0)
    file.write(batch)
    file.close()
    return _PATH.read_bytes()


def _clear() -> None:
    for path in _FOLDER.iterdir():
        path.unlink()


_SAMPLE = _sample()


def _odd_rows(script: bytes) -> None:
    """Change rows: two bytes each time, the column and what is put there."""
    database = sqlite3.connect(_PATH)
    try:
        for column, value in zip(script[::2], script[1::2], strict=False):
            name, expression = _COLUMNS[column % len(_COLUMNS)], _ODD[value % len(_ODD)]
            with suppress(sqlite3.Error):
                database.execute(f"UPDATE debts SET {name} = {expression} WHERE id = {column // 16 % 3 + 1}")
        database.commit()
    finally:
        database.close()


def run(data: bytes) -> Hashable:
    """Try an input: 0 and where a sound file is damaged and with what; 1 and what is put into rows; 2 and a file."""
    kind, rest = (data[0] % 3 if data else 2), data[1:]
    _clear()
    if kind == 0:
        content = bytearray(_SAMPLE)
        for at in range(0, len(rest) - 2, 3):
            content[int.from_bytes(rest[at : at + 2], "big") % len(content)] = rest[at + 2]
        _PATH.write_bytes(content)
    elif kind == 1:
        _PATH.write_bytes(_SAMPLE)
        _odd_rows(rest)
    else:
        _PATH.write_bytes(rest)
    watch.begin()
    file = JournalFile(_PATH)
    try:
        file.open()
        debts = [debt for _, debt in file.load()]
    except JournalError as error:
        assert str(error), "no reason"
        watch.check(0)
        return kind, type(error.__cause__), str(error)[:20] if error.__cause__ is None else ""
    finally:
        file.close()
    gate = Gate()
    gate.agent.react = lambda call: call.answer()
    gate.disconnects.resume(debts)
    for _ in range(5):
        gate.clock.advance(1.0)
    settle(gate)
    watch.check(3, errors=0)
    check_rest(gate)
    assert gate.agent.methods == ["DELETE"] * len(debts), gate.agent.methods
    for call in gate.agent.calls:
        assert call.header("Ws-Id") and call.header("Ws-Uri"), "a DELETE for nobody"
    return kind, len(debts)


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    kind = draw.random.random()
    if kind < 0.55:
        edits = [
            (int(draw.random.random() * len(_SAMPLE)) if draw.chance(0.5) else draw.number(200)).to_bytes(2, "big")
            + bytes((int(draw.random.random() * 256),))
            for _ in range(1 + draw.number(8))
        ]
        return b"\0" + b"".join(edits)
    if kind < 0.9:
        return b"\1" + bytes(int(draw.random.random() * 256) for _ in range(2 + 2 * draw.number(3)))
    file = draw.one((b"", b"SQLite format 3\0", _SAMPLE[: draw.number(len(_SAMPLE))], os.urandom(0), draw.noise(200)))
    return b"\2" + draw.damaged(file)
