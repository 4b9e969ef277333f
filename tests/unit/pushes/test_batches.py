"""Batches, carried out line by line (protocol §6.5)."""

from __future__ import annotations

import json
from typing import Any

from tests.gate import TEXT, Frame, http_request, read_answer, read_frames
from tests.turns import take_turn
from tests.unit.pushes.test_named import PUBLISH, UNKNOWN, NamedTestCase, counts
from wsaas.connections.identity import tag_of
from wsaas.groups import repeats
from wsaas.groups.publishing import Publishing


class BatchesTests(NamedTestCase):
    """What becomes of each line."""

    settings = {**NamedTestCase.settings, "PUSH_MAX_BATCH": "200000"}

    def batch(self, *lines: Any, key: str | None = None) -> list[Any]:
        """:returns: the results of a batch

        :param lines: text, or what is made to JSON
        """
        body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
        headers = [] if key is None else [("Idempotency-Key", key)]
        wire = self.gate.connect()
        wire.deliver(http_request("POST", "/batch", body, PUBLISH, *headers))
        self.gate.turn(30)
        answer, _ = read_answer(wire.take())
        self.assertEqual(answer.status, 200, answer.body)
        results: list[Any] = answer.json["results"]
        return results

    def test_one_after_another(self) -> None:
        """For each client the lines go in order, whoever they are for."""
        key = self.keys[0]
        lines = [{"to": to, "text": str(at)} for at, to in enumerate(["all", key, "groups/room", "users/ann", key])]
        results = self.batch(*lines)
        self.assertEqual([result["sent"] for result in results], [3, 1, 2, 2, 1])
        self.assertEqual(self.payloads(), [[b"0", b"1", b"2", b"3", b"4"], [b"0", b"2", b"3"], [b"0"]])

    def test_each_once_a_line(self) -> None:
        """However it is named."""
        for to in (
            ["groups/room", "users/ann", "groups/a/b", "groups/room"],
            ["groups/room", self.keys[0], f"http://h/{self.keys[0]}", self.keys[1]],
            [self.keys[0], self.keys[1], f"/{self.keys[0]}"],
        ):
            self.assertEqual(self.batch({"to": to, "text": "a"}), [counts(sent=2)], to)
            self.assertEqual(self.payloads(), [[b"a"], [b"a"], []])
        both = ["all", self.keys[2]]
        self.assertEqual(self.batch({"to": both, "text": "a"}), [counts(sent=3)])
        self.assertEqual(self.payloads(), [[b"a"]] * 3)

    def test_except(self) -> None:
        """Also of those that are named by key; each counts once."""
        tags = [tag_of(key) for key in self.keys]
        for to in (["groups/room", self.keys[2]], ["groups/room", *self.keys], self.keys):
            (result,) = self.batch({"to": to, "text": "a", "except": [tags[0], f"{tags[2]}-1"]})
            self.assertEqual(result, counts(sent=1, **{"except": 2}), to)
            self.assertEqual(self.payloads(), [[], [b"a"], []])

    def test_lines_that_cannot_be_read(self) -> None:
        """They do not stop the others."""
        results = self.batch(
            {"to": "all", "text": "a"},
            "{",
            {"to": "groups/..", "text": "b"},
            {"to": "all", "text": "c" * 1001},
            "",
            {"to": "all", "text": "d"},
        )
        codes = [result["code"] for result in results]
        self.assertEqual(codes, ["OK", "BAD_REQUEST", "BAD_REQUEST", "MESSAGE_TOO_LONG", "OK"])
        for result in results[1:4]:
            self.assertGreater(len(result["message"]), 10)
        self.assertEqual(self.payloads()[2], [b"a", b"d"])

    def test_failed(self) -> None:
        """As it was given; a connection without room is not closed."""
        self.wires[0].stall()
        while self.ask("PUT", f"/{self.keys[0]}", body=b"a" * 900).status == 200:
            pass
        slow, gone = f"http://gateway.test/{self.keys[0]}", f"/{UNKNOWN}"
        (result,) = self.batch({"to": [slow, gone, self.keys[1], "groups/room"], "text": "b" * 900})
        self.assertEqual(result, {**counts(sent=1), "failed": {gone: "NOT_FOUND", slow: "TOO_SLOW"}})
        self.assertEqual(self.ask("HEAD", f"/{self.keys[0]}").status, 200)

    def test_slow(self) -> None:
        """Of a target's members: passed over, or closed."""
        self.wires[0].stall()
        while self.ask("PUT", f"/{self.keys[0]}", body=b"a" * 900).status == 200:
            pass
        line = {"to": "groups/room", "text": "b" * 900}
        results = self.batch({**line, "slow": "skip"}, line, line)
        self.assertEqual(results, [counts(sent=1, skipped=1), counts(sent=1, closed=1), counts(sent=1)])

    def test_in_the_handshake(self) -> None:
        """Held, by key too."""
        wire = self.gate.begin()
        self.assertEqual(self.batch({"to": self.gate.key, "text": "a"}), [counts(held=1)])
        self.gate.agent.last.answer()
        self.assertEqual(read_frames(read_answer(wire.take())[1]), [Frame(TEXT, b"a")])

    def test_idempotency_key(self) -> None:
        """It counts per line, with its number, and per target as written."""
        lines = [{"to": ["groups/room", self.keys[2]], "text": "a"}] * 2
        first = self.batch(*lines, key="k")
        self.assertEqual(first, [counts(sent=3)] * 2)
        self.assertEqual(self.batch(*lines, key="k"), first)
        self.assertEqual(self.payloads(), [[b"a"] * 2] * 3)
        other = [{"to": "groups/room", "text": "a"}, *lines[1:], lines[0]]
        self.batch(*other, key="k")
        self.assertEqual(self.payloads(), [[b"a"] * 2, [b"a"] * 2, [b"a"]])

    def test_counts_of_a_repetition(self) -> None:
        """Those of the first, even if one that was named by key has left the group since, or joined it."""
        line = {"to": ["groups/room", *self.keys], "text": "a", "except": [tag_of(self.keys[1])]}
        first = self.batch(line, key="k")
        self.assertEqual(first, [counts(sent=2, **{"except": 1})])
        for key in self.keys[:2]:
            self.ask("DELETE", f"/{key}/groups/room")
        self.ask("PUT", f"/{self.keys[2]}/groups/room")
        self.assertEqual(self.batch(line, key="k"), first)

    def test_idempotency_key_of_many(self) -> None:
        """A repetition sends nothing, however many lines are for one connection; those without room are tried again."""
        lines = [{"to": [self.keys[2], f"http://h/{self.keys[2]}"], "text": str(at)} for at in range(70)]
        wanted = [str(at).encode() for at in range(70)]
        self.assertEqual(self.batch(*lines, key="k"), [counts(sent=1)] * 70)
        self.assertEqual(self.payloads(), [[], [], wanted])
        self.assertEqual(self.batch(*lines, key="k"), [counts(sent=1)] * 70)
        self.assertEqual(self.payloads(), [[], [], []])
        self.wires[2].stall()
        slow = [{"to": [self.keys[1], self.keys[2]], "text": "a" * 900}] * 80
        self.assertIn("failed", self.batch(*slow, key="k")[-1])
        got = len(read_frames(self.wires[1].take()))
        self.assertEqual(got, 80)
        self.assertIn("failed", self.batch(*slow, key="k")[-1])
        self.assertEqual(read_frames(self.wires[1].take()), [])

    def test_idempotency_key_without_room(self) -> None:
        """While so many are remembered that a line could not be, nothing of it is sent."""
        self.patch(repeats, "MOST", 3)
        both = {"to": ["groups/room", *self.keys], "text": "a"}
        last = {"to": self.keys[0], "text": "b"}
        results = self.batch(both, last, both, key="k")
        self.assertEqual([result["code"] for result in results], ["OVERLOADED", "OK", "OVERLOADED"])
        self.assertEqual(self.payloads(), [[b"b"], [], []])
        self.assertEqual(self.batch("", last, key="l"), [counts(sent=1)])

    def test_overloaded(self) -> None:
        """Nothing of such a line is sent; the next one may be."""
        outgoing = self.gate.budgets.outgoing
        publish = Publishing.publish

        def once_without_room(publishing: Publishing, publication: Any) -> Any:
            self.patch(Publishing, "publish", publish)
            outgoing.used += outgoing.limit
            try:
                return publish(publishing, publication)
            finally:
                outgoing.used -= outgoing.limit

        self.patch(Publishing, "publish", once_without_room)
        results = self.batch({"to": ["all", self.keys[0]], "text": "a"}, {"to": "all", "text": "b"})
        self.assertEqual([result["code"] for result in results], ["OVERLOADED", "OK"])
        self.assertEqual(self.payloads(), [[b"b"]] * 3)

    def test_a_fault(self) -> None:
        """500; the log says how."""

        def fail(*_: object) -> object:
            raise ValueError("a fault")

        self.patch(Publishing, "publish", fail)
        answer = self.ask("POST", "/batch", body=b'{"to": "all", "text": "a"}')
        self.assertEqual((answer.status, answer.json["code"]), (500, "FAULT"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.gate.budgets.bodies.used, 0)


class BoundsTests(NamedTestCase):
    """413 before anything is done, and no long turn."""

    settings = {**NamedTestCase.settings, "PUSH_MAX_BATCH": "16000000"}

    def test_too_many(self) -> None:
        """Lines, or elements of one."""
        line = b'{"to": "all", "text": "a"}\n'
        many = json.dumps({"to": ["all"] * 1001, "text": "a"}).encode()
        for body in (line * 1001, line + many, line + b"{\n" + many + b"\n" + line):
            self.assert_refused(self.ask("POST", "/batch", body=body), 413, "MESSAGE_TOO_LONG")

    def test_many_lines_for_many(self) -> None:
        """In turns of which each sends some hundred messages; a push goes between."""
        to = ["all", "groups/room", "users/ann", *(f"groups/{number}" for number in range(897)), *(self.keys[2:] * 100)]
        line = json.dumps({"to": to, "text": "a"}).encode() + b"\n"
        wire = self.gate.connect()
        wire.deliver(http_request("POST", "/batch", line * 100, PUBLISH))
        most = 0
        pushed = False
        for turns in range(2000):
            take_turn(self.gate.clock, 0.003)
            got = sum(map(len, self.frames()))
            most = max(most, got)
            if turns == 20:
                self.assertEqual(self.ask("PUT", f"/{self.keys[0]}", body=b"between").status, 200)
                pushed = Frame(TEXT, b"between") in self.frames()[0]
            data = wire.take()
            if data:
                break
        results = read_answer(data)[0].json["results"]
        self.assertEqual(results, [counts(sent=3)] * 100)
        self.assertTrue(pushed)
        self.assertLess(most, 300)
        self.assertGreater(turns, 50)
