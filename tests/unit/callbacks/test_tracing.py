"""``traceparent``: by the rules of W3C Trace Context, whatever a client sends."""

from __future__ import annotations

import re
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import TEXT, ApiCall, Gate, frame, handshake_request
from tests.properties import moderately
from wsaas.callbacks.tracing import Tracer

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def tracer() -> Tracer:
    """:returns: one whose ids are 1, 2, 3, …"""
    numbers = count(1)
    return Tracer(lambda length: next(numbers).to_bytes(length, "big"))


class TracerTests(SynchronousTestCase):
    """What is taken up, and what is not."""

    def taken_up(self, *fields: tuple[str, str]) -> tuple[str, list[str]]:
        """:returns: the first ``traceparent`` of a connection, and the other headers that callbacks repeat"""
        forwarded = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        trace, rest = tracer().take_up(forwarded)
        line = trace.line().decode("ascii")
        self.assertTrue(line.startswith("traceparent: ") and line.endswith("\r\n"), line)
        return line[13:-2], [f"{name.decode()}: {value.decode()}" for name, value in rest]

    def test_a_new_one(self) -> None:
        """With ids of its own, recorded."""
        self.assertEqual(self.taken_up(("X-A", "1")), (f"00-{1:032x}-{2:016x}-01", ["X-A: 1"]))

    def test_that_of_the_client(self) -> None:
        """Trace id and known flags are kept, the parent is new; what belongs to it stays."""
        for version, sent, flags in (
            ("00", "01", "01"),
            ("00", "00", "00"),
            ("00", "ff", "03"),
            ("00", "02", "02"),
            ("cc", "09", "01"),
            ("cc", "01-what-comes-later", "01"),
            ("fe", "01-", "01"),
        ):
            given = ("TraceParent", f"{version}-{TRACE_ID}-{PARENT_ID}-{sent}"), ("Tracestate", "a=1"), ("X-A", "1")
            expected = f"00-{TRACE_ID}-{1:016x}-{flags}", ["Tracestate: a=1", "X-A: 1"]
            self.assertEqual(self.taken_up(*given), expected, sent)

    def test_what_cannot_be_taken_up(self) -> None:
        """A new trace in its place, without the state of the other."""
        for bad in (
            "",
            "x",
            PARENT.upper(),
            f" {PARENT}",
            f"{PARENT}-",
            f"{PARENT}-more",
            f"{PARENT}0",
            PARENT[:-1],
            f"ff{PARENT[2:]}",
            f"00-{'0' * 32}-{PARENT_ID}-01",
            f"00-{TRACE_ID}-{'0' * 16}-01",
            f"00_{TRACE_ID}_{PARENT_ID}_01",
            f"00-{TRACE_ID[:-1]}\xb2-{PARENT_ID}-01",
            f"cc-{TRACE_ID}-{PARENT_ID}-01.more",
            f"{PARENT}, {PARENT}",
        ):
            taken = self.taken_up(("traceparent", bad), ("tracestate", "a=1"), ("tracestate", "b=1"), ("X-A", "1"))
            self.assertEqual(taken, (f"00-{1:032x}-{2:016x}-01", ["X-A: 1"]), bad)
        twice = self.taken_up(("traceparent", PARENT), ("TRACEPARENT", PARENT), ("tracestate", "a=1"))
        self.assertEqual(twice, (f"00-{1:032x}-{2:016x}-01", []))
        self.assertEqual(self.taken_up(("tracestate", "a=1"))[1], [])

    def test_no_id_is_zero(self) -> None:
        """Not even if the random bytes are."""
        trace = Tracer(bytes).begin()
        self.assertEqual(trace.line(), f"traceparent: 00-{1:032x}-{1:016x}-01\r\n".encode())

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"traceparent", b"tracestate", b"X-A"]),
                st.binary() | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
            )
        )
    )
    @moderately
    def test_whatever_comes(self, fields: list[tuple[bytes, bytes]]) -> None:
        """What goes out is well-formed, and there is one."""
        trace, rest = tracer().take_up(fields)
        line = trace.line().decode("ascii")
        self.assertTrue(FORM.fullmatch(line.removeprefix("traceparent: ").removesuffix("\r\n")), line)
        self.assertNotIn(b"traceparent", [name for name, _ in rest])


class AttemptTests(SynchronousTestCase):
    """What the API gets."""

    def lived(self, gate: Gate, *headers: tuple[str, str]) -> list[ApiCall]:
        """:returns: all attempts of a life: POST, PUT, PUT again, DELETE, DELETE again"""
        before = len(gate.agent.calls)
        wire = gate.connect()
        wire.deliver(handshake_request("/", *headers))
        gate.agent.last.answer(200, b'{"code": "OK"}')
        wire.deliver(frame(TEXT, b"hello"))
        gate.agent.last.answer(503)
        gate.clock.advance(10)
        gate.agent.last.answer(200)
        wire.end()
        gate.turn()
        gate.agent.last.fail(ConnectError())
        gate.clock.advance(10)
        gate.agent.last.answer(200)
        calls = gate.agent.calls[before:]
        self.assertEqual([call.method for call in calls], ["POST", "PUT", "PUT", "DELETE", "DELETE"])
        return calls

    def parents(self, calls: list[ApiCall]) -> tuple[set[str], list[str]]:
        """:returns: the trace ids and the parent ids; each call has one of either"""
        parsed = []
        for call in calls:
            (value,) = call.all("traceparent")
            match = FORM.fullmatch(value)
            assert match is not None
            parsed.append(match)
        return {match[1] for match in parsed}, [match[2] for match in parsed]

    def test_each_attempt(self) -> None:
        """One trace for a connection, a parent for each attempt; another trace for another connection."""
        gate = Gate(None, TRACE="on", API_SECRET="a-secret-of-the-tests")
        traces, parents = self.parents(self.lived(gate, ("traceparent", PARENT)))
        self.assertEqual((len(traces), len(set(parents))), (1, 5))
        self.assertNotIn(TRACE_ID, traces)
        others, _ = self.parents(self.lived(gate))
        self.assertNotEqual(others, traces)

    def test_of_the_client(self) -> None:
        """Where it is let through."""
        gate = Gate(None, TRACE="on", FORWARD_HEADERS="traceparent, tracestate")
        calls = self.lived(gate, ("traceparent", PARENT), ("tracestate", "a=1"))
        traces, parents = self.parents(calls)
        self.assertEqual((traces, len({*parents, PARENT_ID})), ({TRACE_ID}, 6))
        self.assertEqual([call.all("tracestate") for call in calls], [["a=1"]] * 5)

    def test_off(self) -> None:
        """None, or that of the client as it came."""
        calls = self.lived(Gate(), ("traceparent", PARENT), ("tracestate", "a=1"))
        self.assertEqual([call.all("traceparent") + call.all("tracestate") for call in calls], [[]] * 5)
        gate = Gate(None, FORWARD_HEADERS="traceparent, tracestate")
        calls = self.lived(gate, ("traceparent", "no parent"), ("tracestate", "a=1"), ("tracestate", "b=1"))
        self.assertEqual([call.all("traceparent") for call in calls], [["no parent"]] * 5)
        self.assertEqual([call.all("tracestate") for call in calls], [["a=1", "b=1"]] * 5)
