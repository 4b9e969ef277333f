"""Answers of an API that belongs to the attacker, or repeats what an attacker says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.attacks.attack import Attack, AttackTestCase
from tests.recording_api import OK, Answer, Call
from tests.wire import handshake

HEAD = b"HTTP/1.1 200 OK\r\n"
GRANT = HEAD + b"Content-Length: 14\r\n\r\n" + OK


def written(data: bytes) -> Callable[[Call], None]:
    """:returns: a script that writes bytes in place of an answer, and hangs up"""

    def script(call: Call) -> None:
        call.write(data)
        call.hang_up()

    return script


class AnswerAttackTestCase(AttackTestCase):
    """Attacks that come from the API's side, or through it."""

    async def refused(self, *answers: bytes | Answer, **request: Any) -> str:
        """Answer POSTs, each for another client.

        :param answers: as such, or as the bytes on the wire
        :returns: the statuses that the clients got, each once
        """
        got = []
        for answer in answers:
            self.api.script["POST"] = answer if isinstance(answer, Answer) else written(answer)
            got.append(await self.shake(handshake(**request)))
        self.api.script["POST"] = Answer()
        return self.statuses(*got)

    async def check_nothing_lost(self, row: Attack) -> None:
        """An answer that cannot be used is one line more in the log, with what is wrong with it."""
        self.log_lines += len(self.wires)
        await super().check_nothing_lost(row)
