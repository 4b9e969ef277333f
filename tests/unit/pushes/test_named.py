"""Requests by name: every row of protocol §6, in the order of its checks."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    CLOSE,
    TEXT,
    Frame,
    Gate,
    HttpAnswer,
    Wire,
    close_payload,
    frame,
    http_request,
    read_answer,
    read_answers,
    read_frames,
)
from wsaas.connections.identity import tag_of
from wsaas.connections.messages import Remembered
from wsaas.limits import OVERHEAD
from wsaas.net.http1.messages import RequestFields, RequestHead

UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAAAA"
PUBLISH = ("Authorization", "Bearer publish")
PUSH = ("Authorization", "Bearer push")


def counts(**more: int) -> dict[str, Any]:
    """:returns: the answer to a publish"""
    found = {"members": 0, "sent": 0, "held": 0, "skipped": 0, "closed": 0, "except": 0, **more}
    return {"code": "OK", **found, "members": sum(found.values()) - found["members"]}


class NamedTestCase(SynchronousTestCase):
    """Three clients, of which two are in a group and two are one user's."""

    settings: dict[str, str] = {"PUBLISH_TOKEN": "publish", "PUSH_TOKEN": "push"}

    def setUp(self) -> None:
        """Connect them."""
        bounds = {"WS_MAX_MESSAGE": "1000", "WS_MAX_BUFFER": "2000", "PUSH_MAX_BATCH": "4096"}
        self.gate = Gate(None, **{**bounds, **self.settings})
        self.wires: list[Wire] = []
        self.keys: list[str] = []
        for groups, user in ((("room",), "ann"), (("room", "a/b"), "ann"), ((), None)):
            self.wires.append(self.gate.open())
            self.keys.append(self.gate.key)
            connection = self.gate.connection
            if user is not None:
                self.gate.groups.set_user(connection, user)
                connection.remembered = Remembered(user=user)
            self.gate.groups.join(connection, groups)

    def ask(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        body: bytes | None = None,
        token: str | None = "publish",
    ) -> HttpAnswer:
        """Make a request, with a token."""
        given = [*headers] if token is None else [*headers, ("Authorization", f"Bearer {token}")]
        return self.gate.ask(method, target, body, *given)

    def frames(self) -> list[list[Frame]]:
        """:returns: what each client got"""
        return [read_frames(wire.take()) for wire in self.wires]

    def payloads(self) -> list[list[bytes]]:
        """:returns: the messages that each client got"""
        return [[each.payload for each in frames] for frames in self.frames()]

    def assert_refused(self, answer: HttpAnswer, status: int, code: str) -> None:
        """It was refused, in words; and nothing went to anybody."""
        self.assertEqual((answer.status, answer.json["code"]), (status, code), answer.json)
        self.assertGreater(len(answer.json["message"]), 10)
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        self.assertEqual(self.payloads(), [[], [], []])


class PublishTests(NamedTestCase):
    """``PUT base/<target>``."""

    def test_targets(self) -> None:
        """A group, a user, everyone; behind whatever WS_HOSTNAME has."""
        for target, got in (
            ("/groups/room", [1, 1, 0]),
            ("/gw/groups/a%2Fb", [0, 1, 0]),
            ("/users/ann", [1, 1, 0]),
            ("/all", [1, 1, 1]),
            ("/gw/all?x=1", [1, 1, 1]),
            ("/groups/nobody", [0, 0, 0]),
        ):
            answer = self.ask("PUT", target, body=b"hello")
            self.assertEqual((answer.status, answer.json), (200, counts(sent=sum(got))), target)
            self.assertEqual(self.payloads(), [[b"hello"] * count for count in got], target)

    def test_types(self) -> None:
        """As for a push."""
        for kind, opcode in (("text/plain", TEXT), ("image/png", BINARY), ("", TEXT)):
            self.assertEqual(self.ask("PUT", "/groups/room", ("Content-Type", kind), body=b"{}").status, 200)
            self.assertEqual(self.frames()[0], [Frame(opcode, b"{}")], kind)
        self.assert_refused(self.ask("PUT", "/groups/room", body=b"\xff"), 400, "BAD_REQUEST")
        for headers in ((("Content-Type", "text/plain; charset=utf-16"),), (("Content-Encoding", "gzip"),)):
            self.assert_refused(self.ask("PUT", "/groups/room", *headers, body=b"a"), 415, "UNSUPPORTED")

    def test_in_the_handshake(self) -> None:
        """Held, and first behind the 101."""
        wire = self.gate.begin()
        self.gate.groups.join(self.gate.connection, ("room",))
        self.assertEqual(self.ask("PUT", "/groups/room", body=b"a").json, counts(sent=2, held=1))
        self.gate.agent.last.answer()
        _, rest = read_answer(wire.take())
        self.assertEqual(read_frames(rest), [Frame(TEXT, b"a")])

    def test_except(self) -> None:
        """By tag, or by Ws-Id as it came."""
        tags = [tag_of(key) for key in self.keys]
        for value in (tags[0], f"{tags[0]}-17", f"{tags[0]}-end, {UNKNOWN[:22]}"):
            answer = self.ask("PUT", "/groups/room", ("Ws-Except", value), body=b"a")
            self.assertEqual(answer.json, counts(sent=1, **{"except": 1}))
            self.assertEqual(self.payloads(), [[], [b"a"], []])
        for value in ("self", tags[0][:-1], self.keys[0], ", ".join([tags[0]] * 65)):
            answer = self.ask("PUT", "/groups/room", ("Ws-Except", value), body=b"a")
            self.assert_refused(answer, 400, "BAD_REQUEST")
            self.assertNotIn(self.keys[0], answer.body.decode())

    def test_slow(self) -> None:
        """Closed with 1013, or passed over."""
        self.wires[0].stall()
        while self.ask("PUT", f"/{self.keys[0]}", body=b"a" * 900).status == 200:
            pass
        skipped = self.ask("PUT", "/groups/room", ("Ws-Slow", "skip"), body=b"b" * 900)
        self.assertEqual(skipped.json, counts(sent=1, skipped=1))
        for value in ("", "Skip", "wait"):
            answer = self.ask("PUT", "/groups/room", ("Ws-Slow", value), body=b"a")
            self.assertEqual((answer.status, answer.json["code"]), (400, "BAD_REQUEST"), value)
        closed = self.ask("PUT", "/groups/room", ("Ws-Slow", "close"), body=b"b" * 900)
        self.assertEqual(closed.json, counts(sent=1, closed=1))
        self.assertEqual(self.ask("PUT", "/groups/room", body=b"b").json, counts(sent=1))
        self.wires[0].flow()
        self.assertEqual(read_frames(self.wires[0].take())[-1], Frame(CLOSE, close_payload(1013)))

    def test_idempotency_key(self) -> None:
        """The repetition is answered with all counts, and sends nothing; each target has its own."""
        key = ("Idempotency-Key", "k")
        for _ in range(2):
            self.assertEqual(self.ask("PUT", "/groups/room", key, body=b"a").json, counts(sent=2))
        self.assertEqual(self.ask("PUT", "/users/ann", key, body=b"b").json, counts(sent=2))
        self.assertEqual(self.payloads(), [[b"a", b"b"], [b"a", b"b"], []])
        self.assert_refused(self.ask("PUT", "/all", ("Idempotency-Key", "a b"), body=b""), 400, "BAD_REQUEST")

    def test_confirm(self) -> None:
        """It is for one connection."""
        self.assert_refused(self.ask("PUT", "/all", ("Ws-Confirm", "1000"), body=b"a"), 400, "BAD_REQUEST")

    def test_too_long(self) -> None:
        """By the length, or when too much of it has come."""
        answer = self.ask("PUT", "/groups/room", body=b"a" * 1001)
        self.assert_refused(answer, 413, "MESSAGE_TOO_LONG")
        self.assertIn("WS_MAX_MESSAGE", answer.json["message"])
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", "/groups/room", None, PUBLISH, ("Transfer-Encoding", "chunked")))
        wire.deliver(b"%x\r\n" % 2000 + b"a" * 2000)
        self.assertEqual(read_answer(wire.take())[0].status, 413)

    def test_overloaded(self) -> None:
        """503, when to come back, and nothing was sent."""
        outgoing = self.gate.budgets.outgoing
        outgoing.used += outgoing.limit
        answer = self.ask("PUT", "/groups/room", body=b"a")
        outgoing.used -= outgoing.limit
        self.assert_refused(answer, 503, "OVERLOADED")
        self.assertEqual(answer.header("Retry-After"), "1")

    def test_many_take_turns(self) -> None:
        """The answer comes when all have it; a pusher that has left meanwhile stops nothing."""
        for _ in range(500):
            self.gate.groups.join(self.opened(), ("crowd",))
        wire, left = self.gate.connect(), self.gate.connect()
        wire.deliver(http_request("PUT", "/groups/crowd", b"a", PUBLISH))
        left.deliver(http_request("PUT", "/groups/crowd", b"b", PUBLISH))
        left.end()
        self.assertEqual(wire.take(), b"")
        self.gate.turn(12)
        self.assertEqual(read_answer(wire.take())[0].json, counts(sent=500))
        self.assertEqual(self.gate.named.answers[b"PUT"], {200: 2})

    def opened(self) -> Any:
        """:returns: a new connection"""
        self.wires.append(self.gate.open())
        return self.gate.connection


class MembersTests(NamedTestCase):
    """Counts, listings, closing, leaving."""

    def test_counts(self) -> None:
        """0 is no error."""
        for target, count in (("/groups/room", 2), ("/users/ann", 2), ("/all", 3), ("/users/bob", 0), ("/groups/x", 0)):
            answer = self.ask("GET", target)
            self.assertEqual((answer.status, answer.json), (200, {"code": "OK", "members": count}))
            head = self.ask("HEAD", target)
            self.assertEqual((head.status, head.header("Content-Length")), (200, answer.header("Content-Length")))

    def test_listing(self) -> None:
        """Each once, in pages."""
        for target, expected in (("/groups/room", 2), ("/users/ann", 2), ("/all", 3), ("/groups/none", 0)):
            for limit in (1, 2, 100):
                after = ""
                told: list[Any] = []
                for _ in range(5):
                    page = self.ask("GET", f"{target}/members?limit={limit}{after}").json
                    told += page["members"]
                    self.assertLessEqual(len(page["members"]), limit)
                    if page["next"] is None:
                        break
                    after = f"&after={page['next']}"
                self.assertEqual(len({each["id"] for each in told}), expected)
                self.assertEqual(len(told), expected)
        members = {each["id"]: each for each in self.ask("GET", "/all/members").json["members"]}
        self.assertEqual(set(members), {tag_of(key) for key in self.keys})
        first = members[tag_of(self.keys[0])]
        self.assertEqual(
            first, {"id": first["id"], "user": "ann", "state": None, "connected_at": "2023-11-14T22:13:20.000Z"}
        )
        self.assertIsNone(members[tag_of(self.keys[2])]["user"])

    def test_listing_with_ws_uri(self) -> None:
        """Only if asked for."""
        told = self.ask("GET", "/users/ann/members?ws_uri=1").json["members"]
        self.assertEqual({each["ws_uri"] for each in told}, {f"http://gateway.test/{key}" for key in self.keys[:2]})
        self.assertNotIn("ws_uri", self.ask("GET", "/users/ann/members").body.decode())

    def test_bad_parameters(self) -> None:
        """Each says what is allowed."""
        for query in (
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=",
            "limit=%C2%B2",
            "after=",
            "after=x",
            "ws_uri=0",
            "other=1",
            "limit=1&limit=1",
            "limit",
            "after=%FF",
        ):
            self.assert_refused(self.ask("GET", f"/groups/room/members?{query}"), 400, "BAD_REQUEST")

    def test_close(self) -> None:
        """Everybody but those who are left out, after what was published before."""
        self.ask("PUT", "/groups/room", body=b"last")
        target = "/users/ann?code=4001&reason=logged%20out"
        answer = self.ask("DELETE", target, ("Ws-Except", f"{tag_of(self.keys[1])}-3"))
        self.assertEqual((answer.status, answer.json), (200, {"code": "OK", "closed": 1}))
        one, two, three = self.frames()
        self.assertEqual(one, [Frame(TEXT, b"last"), Frame(CLOSE, close_payload(4001, "logged out"))])
        self.assertEqual((two, three), ([Frame(TEXT, b"last")], []))
        self.assertEqual(self.ask("DELETE", "/groups/room").json, {"code": "OK", "closed": 1})
        self.assertEqual(self.frames()[1], [Frame(CLOSE, close_payload(1000))])
        self.assertEqual(self.ask("DELETE", "/groups/room").json, {"code": "OK", "closed": 0})

    def test_bad_closes(self) -> None:
        """As for one connection."""
        for target in ("/groups/room?code=1005", "/groups/room?reason=" + "a" * 124, "/users/ann?x=1"):
            self.assert_refused(self.ask("DELETE", target), 400, "BAD_REQUEST")
        self.assert_refused(self.ask("DELETE", "/users/ann", ("Ws-Except", "me")), 400, "BAD_REQUEST")

    def test_closes_that_are_none(self) -> None:
        """Who gives a close code to what only leaves is told, and nobody leaves."""
        for target in ("/groups/room/members", f"/{self.keys[1]}/groups", "/users/ann/groups/room"):
            refused = self.ask("DELETE", f"{target}?code=4000")
            self.assert_refused(refused, 400, "BAD_REQUEST")
            self.assertIn("no parameters", refused.json["message"])
        self.assertEqual(self.ask("GET", "/groups/room").json["members"], 2)

    def test_empty(self) -> None:
        """Everybody leaves, and nobody is closed."""
        self.assertEqual(self.ask("DELETE", "/groups/room/members").json, {"code": "OK", "left": 2})
        self.assertEqual(self.ask("DELETE", "/groups/room/members").json, {"code": "OK", "left": 0})
        self.assertEqual(self.payloads(), [[], [], []])
        self.assertEqual(self.ask("GET", f"/{self.keys[1]}").json["groups"], ["a/b"])


class MembershipsTests(NamedTestCase):
    """A connection's groups, and a user's."""

    settings = {**NamedTestCase.settings, "WS_MAX_GROUPS": "3"}

    def groups(self, number: int) -> list[str]:
        """:returns: what a connection is in"""
        told: list[str] = self.ask("GET", f"/{self.keys[number]}").json["groups"]
        return told

    def test_join_and_leave(self) -> None:
        """In order of joining."""
        target = f"/{self.keys[0]}/groups"
        self.assertEqual(self.ask("PUT", f"{target}/%C3%A9%2C%20x").json, {"code": "OK", "joined": 1})
        self.assertEqual(self.ask("PUT", f"{target}/room", body=b"ignored").json, {"code": "OK", "joined": 0})
        self.assertEqual(self.groups(0), ["room", "é, x"])
        self.assertEqual(self.ask("GET", f"/{self.keys[0]}").json["user"], "ann")
        self.assertEqual(self.ask("DELETE", f"{target}/room", token="push").json, {"code": "OK", "left": 1})
        self.assertEqual(self.ask("DELETE", f"{target}/room", token="push").json, {"code": "OK", "left": 0})
        self.assertEqual(self.ask("DELETE", target, token="push").json, {"code": "OK", "left": 1})
        self.assertEqual(self.groups(0), [])

    def test_too_many(self) -> None:
        """409, unless it is in this one already."""
        target = f"/{self.keys[0]}/groups"
        for name in ("b", "c"):
            self.assertEqual(self.ask("PUT", f"{target}/{name}").status, 200)
        self.assert_refused(self.ask("PUT", f"{target}/d"), 409, "TOO_MANY_GROUPS")
        self.assertEqual(self.ask("PUT", f"{target}/c").json["joined"], 0)

    def test_no_more_memberships(self) -> None:
        """503, and when to come back."""
        self.gate = Gate(PUBLISH_TOKEN="publish")
        self.gate.open()
        self.patch(self.gate.groups.membership, "_most", lambda: 0)
        answer = self.gate.ask("PUT", f"/{self.gate.key}/groups/a", None, PUBLISH)
        self.assertEqual((answer.status, answer.json["code"], answer.header("Retry-After")), (503, "OVERLOADED", "1"))

    def test_no_such_connection(self) -> None:
        """404; of the key first, then of the name."""
        for method, target in (
            ("PUT", f"/{UNKNOWN}/groups/a"),
            ("PUT", f"/{UNKNOWN}/groups/"),
            ("DELETE", f"/{UNKNOWN}/groups/a"),
            ("DELETE", f"/{UNKNOWN}/groups"),
        ):
            self.assert_refused(self.ask(method, target), 404, "NOT_FOUND")

    def test_closing_meanwhile(self) -> None:
        """It began to close while a body came."""
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", f"/{self.keys[0]}/groups/x", None, PUBLISH, ("Content-Length", "1")))
        self.wires[0].deliver(frame(CLOSE, close_payload(1000)))
        wire.deliver(b"x")
        self.assertEqual(read_answer(wire.take())[0].status, 404)

    def test_users(self) -> None:
        """All of the user's present connections."""
        self.ask("PUT", f"/{self.keys[1]}/groups/third")
        self.assertEqual(
            self.ask("PUT", "/users/ann/groups/new").json, {"code": "OK", "joined": 1, "left": 0, "full": 1}
        )
        self.assertEqual(
            self.ask("DELETE", "/users/ann/groups/room").json, {"code": "OK", "joined": 0, "left": 2, "full": 0}
        )
        self.assertEqual((self.groups(0), self.groups(1)), (["new"], ["a/b", "third"]))
        self.assertEqual(self.ask("PUT", "/users/nobody/groups/x").json["joined"], 0)

    def test_no_more_memberships_for_users(self) -> None:
        """503, as not all could join."""
        self.patch(self.gate.groups.membership, "_most", lambda: 0)
        self.assert_refused(self.ask("PUT", "/users/ann/groups/x"), 503, "OVERLOADED")


class NamesTests(NamedTestCase):
    """An encoded text is one name or an error."""

    def test_bad_names(self) -> None:
        """400, wherever they stand."""
        for name in ("", "..", ".", "%2e", "a%00b", "a,b", "a%2", "%FF", "a;b", "a" * 65, "*", "%E2%82%AC" * 64 + "a"):
            for method, target in (
                ("PUT", f"/groups/{name}"),
                ("GET", f"/users/{name}"),
                ("GET", f"/groups/{name}/members"),
                ("DELETE", f"/users/{name}"),
                ("PUT", f"/users/{name}/groups/a"),
                ("PUT", f"/users/a/groups/{name}"),
                ("PUT", f"/{self.keys[0]}/groups/{name}"),
                ("DELETE", f"/{self.keys[0]}/groups/{name}"),
            ):
                self.assert_refused(self.ask(method, target), 400, "BAD_REQUEST")

    def test_names_that_were_not_encoded(self) -> None:
        """They lead nowhere else: not to everyone, and not to another's groups."""
        for typed in ("x/all", "../all", "./room", "a/../../groups/room", "a/users/ann", f"x/{self.keys[0]}/groups/b"):
            for method in ("PUT", "GET", "DELETE"):
                answer = self.ask(method, f"/groups/{typed}")
                self.assertGreaterEqual(answer.status, 400, typed)
                self.assertEqual(self.payloads(), [[], [], []])
        self.assert_refused(self.ask("POST", "/groups/x/batch", body=b'{"to": "all", "text": "a"}'), 400, "BAD_REQUEST")

    def test_names_with_the_shape_of_a_key(self) -> None:
        """Even of one that is there."""
        key = self.keys[0]
        self.assertEqual(self.ask("PUT", f"/groups/{key}", body=b"a").json, counts())
        self.assertEqual(self.ask("DELETE", f"/users/{key}").json, {"code": "OK", "closed": 0})
        self.assertEqual(self.ask("PUT", f"/{self.keys[0]}/groups/{key}").json, {"code": "OK", "joined": 1})
        self.assertEqual(self.ask("PUT", f"/groups/{key}", body=b"a").json, counts(sent=1))


class OrderTests(NamedTestCase):
    """Method, token, name or key, length, type, headers."""

    def test_methods(self) -> None:
        """405, and what is allowed."""
        for target, allowed in (
            ("/groups/a", "GET, HEAD, PUT, DELETE"),
            ("/users/..", "GET, HEAD, PUT, DELETE"),
            ("/all", "GET, HEAD, PUT"),
            ("/groups/a/members", "GET, HEAD, DELETE"),
            ("/users/a/members", "GET, HEAD"),
            ("/all/members", "GET, HEAD"),
            ("/users/a/groups/b", "PUT, DELETE"),
            (f"/{UNKNOWN}/groups", "DELETE"),
            (f"/{UNKNOWN}/groups/b", "PUT, DELETE"),
            ("/batch", "POST"),
        ):
            for method in ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"):
                answer = self.ask(method, target, token=None)
                if method in allowed.split(", "):
                    self.assertEqual(
                        (answer.status, answer.header("WWW-Authenticate")), (401, "Bearer"), (method, target)
                    )
                else:
                    self.assertEqual((answer.status, answer.header("Allow")), (405, allowed), (method, target))

    def test_tokens(self) -> None:
        """One of PUSH_TOKEN does not open what is by name; leaving takes no more than to push."""
        key = self.keys[0]
        for token in (None, "wrong", "push"):
            for method, target in (
                ("PUT", "/groups/room"),
                ("PUT", "/groups/.."),
                ("GET", "/all"),
                ("HEAD", "/all"),
                ("GET", "/users/ann/members"),
                ("DELETE", "/groups/room"),
                ("DELETE", "/groups/room/members"),
                ("PUT", "/users/ann/groups/x"),
                ("DELETE", "/users/ann/groups/x"),
                ("PUT", f"/{key}/groups/x"),
                ("PUT", f"/{UNKNOWN}/groups/x"),
                ("POST", "/batch"),
            ):
                answer = self.ask(method, target, body=b"", token=token)
                self.assertEqual((answer.status, answer.header("WWW-Authenticate")), (401, "Bearer"), (method, target))
        for target in (f"/{key}/groups", f"/{key}/groups/room"):
            self.assertEqual(self.ask("DELETE", target, token=None).status, 401)
            for token in ("push", "publish"):
                self.assertEqual(self.ask("DELETE", target, token=token).status, 200)
        self.assertEqual(
            [self.ask("PUT", f"/{key}", body=b"", token=each).status for each in ("push", "publish")], [200] * 2
        )
        self.assertEqual(self.gate.named.answers[b"HEAD"], {401: 3})

    def test_header_lines_that_are_remembered(self) -> None:
        """A token that let a push through, by the short way, opens nothing else."""
        wire = self.gate.connect()
        for _ in range(3):
            wire.deliver(http_request("PUT", f"/{self.keys[0]}", b"a", PUSH))
        wire.deliver(http_request("PUT", "/all", b"a", PUSH))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200, 200, 200, 401])

    def test_the_others(self) -> None:
        """The name before the length, the length before the type, the type before other headers."""
        wrong = [("Ws-Slow", "x")]
        self.assertEqual(self.ask("PUT", "/groups/..", *wrong, body=b"a" * 1001).status, 400)
        wrong.append(("Content-Encoding", "gzip"))
        self.assertEqual(self.ask("PUT", "/groups/a", *wrong, body=b"a" * 1001).status, 413)
        self.assertEqual(self.ask("PUT", "/groups/a", *wrong, body=b"a").status, 415)
        self.assertEqual(self.ask("PUT", "/groups/a", wrong[0], body=b"a").status, 400)

    def test_before_the_body(self) -> None:
        """It is not asked for."""
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", "/all", None, ("Content-Length", "100"), ("Expect", "100-continue")))
        self.assertEqual(read_answer(wire.take())[0].status, 401)

    def test_trust(self) -> None:
        """Who has a token may be refused often."""
        for token, trusted in ((b"push", True), (b"publish", True), (b"wrong", False)):
            fields = RequestFields([(b"Authorization", b"Bearer " + token)])
            head = RequestHead(b"PUT", b"/all", b"HTTP/1.1", fields)
            self.assertEqual(self.gate.named.is_trusted(head), trusted)


class WithoutPushTokenTests(NamedTestCase):
    """``PUBLISH_TOKEN`` alone."""

    settings = {"PUBLISH_TOKEN": "publish"}

    def test_pushes_need_no_token(self) -> None:
        """What is by name does."""
        key = self.keys[0]
        self.assertEqual(self.ask("PUT", f"/{key}", body=b"a", token=None).status, 200)
        self.assertEqual(self.ask("GET", f"/{key}", token=None).json["groups"], ["room"])
        self.assertEqual(self.ask("DELETE", f"/{key}/groups", token=None).json["left"], 1)
        for method, target in (("PUT", f"/{key}/groups/x"), ("PUT", "/all"), ("GET", "/all"), ("POST", "/batch")):
            self.assertEqual(self.ask(method, target, body=b"", token=None).status, 401)
        head = RequestHead(b"PUT", b"/all", b"HTTP/1.1", RequestFields())
        self.assertFalse(self.gate.named.is_trusted(head))


class LogTests(NamedTestCase):
    """One line a request at DEBUG, without keys and tokens."""

    settings = {**NamedTestCase.settings, "LOG_LEVEL": "DEBUG"}

    def lines(self, method: str, target: str, **more: Any) -> str:
        """:returns: what is logged of a request"""
        with patch("wsaas.pushes.named.NamedResource._log") as log:
            self.ask(method, target, **more)
        log.info.assert_not_called()
        (call,) = log.debug.call_args_list
        line: str = call.args[0].format(**call.kwargs)
        self.assertNotIn("publish", line.replace("published", ""))
        return line

    def test_lines(self) -> None:
        """Names and counts are in them."""
        line = self.lines("PUT", "/groups/room", body=b"hello")
        self.assertIn("/groups/room PUT: 200 in 0.0 ms, 5 bytes in", line)
        self.assertIn('"members": 2, "sent": 2', line)
        line = self.lines("GET", "/all/members?ws_uri=1")
        self.assertIn("/all/members GET: 200", line)
        line += self.lines("PUT", f"/{self.keys[0]}/groups/x")
        line += self.lines("DELETE", f"/{self.keys[0]}/groups/..")
        line += self.lines("PUT", f"/{UNKNOWN}/groups/x", token="push")
        line += self.lines("PUT", "/groups/a", body=b"a" * 1001)
        self.assertIn(f"{tag_of(self.keys[0])} groups PUT: 200", line)
        for key in self.keys:
            self.assertNotIn(key, line)

    def test_keys_in_names(self) -> None:
        """A back end may have a ws_uri, or a part of one, for a name."""
        key = self.keys[0]
        for name in (
            key,
            f"{key};",
            f"{key},b",
            f"{key}%2C",
            f"http:%2F%2Fh%2F{key}",
            f"http:%2f%2fh%2f{key}",
            f"@{key}",
        ):
            line = self.lines("PUT", f"/groups/{name}") + self.lines("GET", f"/users/{name}/members")
            self.assertIn("groups/", line)
            self.assertNotIn(key, line)


class MissingTests(SynchronousTestCase):
    """Without ``PUBLISH_TOKEN`` there is nothing by name."""

    ALL_OF_THEM = ("/groups/a", "/users/a", "/all", "/all/members", "/groups/a/members", "/users/a/groups/b", "/batch")

    def setUp(self) -> None:
        """Start it."""
        self.gate = Gate()
        self.wire = self.gate.open()

    def test_on_the_clients_listener(self) -> None:
        """404 for PUT and DELETE, 426 for others, as for any path; even where the last segment is a key."""
        key = self.gate.key
        for target in (*self.ALL_OF_THEM, f"/groups/{key}", f"/users/x/groups/{key}", "/groups/.."):
            for method in ("PUT", "DELETE"):
                answer = self.gate.ask(method, target, b"")
                self.assertEqual((answer.status, answer.json["code"]), (404, "NOT_FOUND"), (method, target))
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                self.assertEqual(self.gate.ask(method, target).status, 426, (method, target))
        self.assertEqual(self.wire.take(), b"")

    def test_what_is_there(self) -> None:
        """Leaving, and asking about one connection."""
        self.gate.groups.join(self.gate.connection, ("a", "b"))
        target = f"/{self.gate.key}/groups"
        self.assertEqual(self.gate.ask("GET", f"/{self.gate.key}").json["groups"], ["a", "b"])
        self.assertEqual(self.gate.ask("DELETE", f"{target}/a").json, {"code": "OK", "left": 1})
        self.assertEqual(self.gate.ask("PUT", f"{target}/c").status, 404)
        self.assertEqual(self.gate.ask("DELETE", target).json, {"code": "OK", "left": 1})

    def test_on_the_pushers_listener(self) -> None:
        """As a ws_uri that is none."""
        self.gate = Gate(PUSH_LISTEN="tcp:9000", WS_HOSTNAME="http://push.test", PUSH_TOKEN="push")
        self.gate.open()
        for target in (*self.ALL_OF_THEM, f"/groups/{self.gate.key}"):
            for method in ("PUT", "DELETE", "GET", "HEAD"):
                self.assertEqual(self.gate.ask(method, target, None, PUSH).status, 404)
                self.assertEqual(self.gate.ask(method, target).status, 401)
            answer = self.gate.ask("POST", target, b"")
            self.assertEqual((answer.status, answer.header("Allow")), (405, "GET, HEAD, PUT, DELETE"))

    def test_the_setting_is_named_once_a_minute(self) -> None:
        """At INFO, without the name that was asked for."""
        with patch("wsaas.pushes.named.NamedResource._log") as log:
            for _ in range(3):
                self.gate.ask("PUT", "/groups/secret-room", b"")
                self.gate.ask("GET", "/all")
            self.assertEqual(log.info.call_count, 1)
            self.gate.clock.advance(60)
            self.gate.ask("POST", "/batch", b"")
            self.assertEqual(log.info.call_count, 2)
        for call in log.info.call_args_list:
            self.assertIn("PUBLISH_TOKEN", call.args[0])
            self.assertNotIn("secret-room", str(call))


class LeftTests(NamedTestCase):
    """Whoever asked has left before the answer."""

    def test_a_fault(self) -> None:
        """The log has it."""
        doing: Deferred[Any] = Deferred()
        self.patch(self.gate.groups.publishing, "publish", lambda _: doing)
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", "/all", b"a", PUBLISH))
        wire.end()
        doing.errback(ValueError("a fault"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class ListenersTests(SynchronousTestCase):
    """Who answers on which listener."""

    def test_handshakes_come_first(self) -> None:
        """On every path; of clients only."""
        both: tuple[dict[str, str], ...] = ({}, {"PUBLISH_TOKEN": "publish"})
        for settings in both:
            gate = Gate(None, **settings)
            for target in ("/groups/a", "/all", "/batch", "/users/a/members", f"/{UNKNOWN}/groups"):
                gate.open(target)
            self.assertEqual(gate.agent.methods, ["POST"] * 5)

    def test_on_the_pushers_listener(self) -> None:
        """Requests by name are answered there, and only there; an upgrade opens nothing."""
        gate = Gate(PUSH_LISTEN="tcp:9000", WS_HOSTNAME="http://push.test", PUBLISH_TOKEN="publish")
        self.assertEqual(gate.ask("GET", "/all", None, PUBLISH).json["members"], 0)
        upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]
        upgrade.append(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
        for target in ("/all", "/groups/a", "/users/a/members"):
            self.assertEqual(gate.ask("GET", target, None, *upgrade).status, 401)
            self.assertEqual(gate.ask("GET", target, None, PUBLISH, *upgrade).status, 200)
        self.assertEqual(gate.ask("GET", "/batch", None, *upgrade).status, 405)
        self.assertEqual(gate.agent.calls, [])
        for method, target in (("PUT", "/all"), ("GET", "/groups/a"), ("POST", "/batch"), ("DELETE", "/users/a")):
            wire = gate.connect()
            wire.deliver(http_request(method, target, None, PUBLISH, ("Content-Length", "0")))
            self.assertEqual(read_answer(wire.take())[0].status, 405, target)


class BatchRequestTests(NamedTestCase):
    """``POST base/batch`` as a request; what its lines do has a module of its own."""

    def test_ok(self) -> None:
        """Line by line; whatever the type says."""
        body = b'{"to": "groups/room", "text": "a"}\n\n{"to": ["users/ann", "all"], "base64": "/w=="}\n'
        answer = self.ask("POST", "/gw/batch", ("Content-Type", "image/png"), body=body)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json, {"code": "OK", "results": [counts(sent=2), counts(sent=3)]})
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
        self.assertEqual(self.frames()[0], [Frame(TEXT, b"a"), Frame(BINARY, b"\xff")])
        self.assertEqual(self.gate.named.answers[b"POST"], {200: 1})

    def test_its_bound(self) -> None:
        """PUSH_MAX_BATCH, not WS_MAX_MESSAGE; with a length, and in chunks while they come."""
        body = b" " * 3000 + b'{"to": "groups/room", "text": "a"}'
        self.assertEqual(self.ask("POST", "/batch", body=body).json["results"], [counts(sent=2)])
        self.payloads()
        answer = self.ask("POST", "/batch", body=b" " * 4097)
        self.assert_refused(answer, 413, "MESSAGE_TOO_LONG")
        self.assertIn("4096 bytes (PUSH_MAX_BATCH)", answer.json["message"])
        chunked = http_request("POST", "/batch", None, PUBLISH, ("Transfer-Encoding", "chunked"))
        wire = self.gate.connect()
        wire.deliver(chunked)
        self.assertEqual(self.gate.budgets.bodies.used, 4096 + OVERHEAD)
        wire.deliver(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        self.assertEqual(read_answer(wire.take())[0].json["results"], [counts(sent=2)])
        wire = self.gate.connect()
        wire.deliver(chunked + b"1001\r\n" + b" " * 4097)
        answer, _ = read_answer(wire.take())
        self.assertEqual((answer.status, answer.json["code"]), (413, "MESSAGE_TOO_LONG"))
        self.assertIn("PUSH_MAX_BATCH", answer.json["message"])
        self.assertEqual(self.gate.budgets.bodies.used, 0)
        self.assertEqual(self.gate.named.unheard, {413: 1})

    def test_headers(self) -> None:
        """A malformed key, an encoded body."""
        self.assert_refused(self.ask("POST", "/batch", ("Idempotency-Key", ""), body=b""), 400, "BAD_REQUEST")
        self.assert_refused(self.ask("POST", "/batch", ("Content-Encoding", "gzip"), body=b""), 415, "UNSUPPORTED")

    def test_its_body_counts_until_it_is_done(self) -> None:
        """A long one is worked off in turns, whoever waits for it; while there are too many, no other begins."""
        line = json.dumps({"to": self.keys, "text": "a"}).encode()
        body = b"\n".join([line] * 30)
        wire = self.gate.connect()
        wire.deliver(http_request("POST", "/batch", body, PUBLISH))
        self.assertEqual(wire.take(), b"")
        bodies = self.gate.budgets.bodies
        self.assertEqual(bodies.used, len(body) + OVERHEAD)
        with patch.object(bodies, "limit", 1):
            head = RequestHead(b"POST", b"/batch", b"HTTP/1.1", RequestFields([(b"Authorization", b"Bearer publish")]))
            refused: Any = self.gate.named.respond(head, b"{}")
            self.assertEqual((refused.status, refused.retry_after), (503, 1))
        wire.end()
        self.gate.turn(10)
        self.assertEqual(bodies.used, 0)
        self.assertEqual(self.payloads(), [[b"a"] * 30] * 3)
