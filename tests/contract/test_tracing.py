"""Tracing: protocol §2.7."""

from __future__ import annotations

import re

from tests.contract.case import ContractTestCase, Life

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-00")
STATE = ("tracestate", "vendor=1")
BOTH = "traceparent, tracestate"


class TracingTests(ContractTestCase):
    """A life of three callbacks."""

    def trace_of(self, life: Life) -> tuple[str, str]:
        """:returns: trace id and flags of a life; each callback has a parent of its own"""
        found = [
            re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", value or "") for value in self.values(life)
        ]
        parts = [match.groups() for match in found if match is not None]
        self.assertEqual(len({parent for _, parent, _ in parts} - {PARENT_ID}), 3)
        ((trace, flags),) = {(trace, flags) for trace, _, flags in parts}
        return trace, flags

    def values(self, life: Life, name: str = "traceparent") -> list[str | None]:
        """:returns: a header of each callback, where it stands once at most"""
        return [call.header(name) for call in life.calls]

    async def test_forwarded(self) -> None:
        """Without ``TRACE``, only what ``FORWARD_HEADERS`` names, as it came."""
        await self.serve(FORWARD_HEADERS=BOTH)
        life = await self.life(headers=[PARENT, STATE])
        self.assertEqual(self.values(life), [PARENT[1]] * 3)
        self.assertEqual(self.values(life, "tracestate"), [STATE[1]] * 3)

    async def test_not_forwarded(self) -> None:
        """By default, nothing."""
        await self.serve()
        life = await self.life(headers=[PARENT, STATE])
        self.assertEqual(self.values(life) + self.values(life, "tracestate"), [None] * 6)

    async def test_on(self) -> None:
        """A new trace for each connection, whatever the client sends, and signed or not."""
        await self.serve(TRACE="on", API_SECRET="a-secret-of-the-tests")
        lives = [await self.life(headers=[PARENT, STATE]) for _ in range(2)]
        (one, flags), (other, _) = map(self.trace_of, lives)
        self.assertEqual((flags, len({one, other, TRACE_ID})), ("01", 3))
        self.assertEqual(self.values(lives[0], "tracestate"), [None] * 3)

    async def test_on_and_forwarded(self) -> None:
        """The client's trace goes on, with its flags; what is malformed does not, nor what belongs to it."""
        await self.serve(TRACE="on", FORWARD_HEADERS=BOTH)
        life = await self.life(headers=[PARENT, STATE])
        self.assertEqual((self.trace_of(life), self.values(life, "tracestate")), ((TRACE_ID, "00"), [STATE[1]] * 3))
        life = await self.life(headers=[("traceparent", PARENT[1].upper()), STATE])
        trace, flags = self.trace_of(life)
        self.assertNotEqual(trace, TRACE_ID)
        self.assertEqual((flags, self.values(life, "tracestate")), ("01", [None] * 3))
