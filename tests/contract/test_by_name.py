"""Requests by name on real sockets: groups, users, everyone, batches (protocol §6)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from bench.ports import free_port
from tests.contract.test_pushes import PushTestCase
from tests.recording_api import Answer, Call
from tests.wire import BINARY, CLOSE, NOBODY, TEXT, Fields, Frame, Reply, Wire, close_payload, handshake
from wsaas.connections.identity import tag_of

TOKEN = "a-token-that-publishes"
BEARER = ("Authorization", f"Bearer {TOKEN}")
PUSHER = ("Authorization", "Bearer a-token-that-pushes")


class ByNameTestCase(PushTestCase):
    """Clients that the API puts into groups when they connect: by the query of their path."""

    async def begin(self, **settings: str) -> None:
        """Start the gateway."""

        def let_in(call: Call) -> None:
            path = call.header("Ws-Path") or ""
            groups, _, user = path.partition("?")[2].partition("&")
            headers = [("Ws-Join", groups)] if groups else []
            call.answer(headers=headers + ([("Ws-User", user)] if user else []))

        self.api.script["POST"] = let_in
        await self.serve(**{"PUBLISH_TOKEN": TOKEN, "WS_MAX_GROUPS": "5", **settings})

    async def member(self, groups: str = "", user: str = "") -> tuple[Wire, str]:
        """:returns: a client that is in groups, and its ``ws_uri``"""
        return await self.connected(f"/?{groups}&{user}")

    async def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Fields = (), token: Fields = (BEARER,)
    ) -> Reply:
        """:returns: the answer to a request behind ``base/``"""
        path, mark, query = target.partition("?")
        return await self.push(
            method, f"http://127.0.0.1:{self.port}/{path}", body, [*headers, *token], f"{mark}{query}"
        )

    async def check_counts(self, reply: Reply, **expected: int) -> None:
        """An answer says whom a publish reached."""
        self.check_ok(reply)
        counts = {name: expected.get(name, 0) for name in ("sent", "held", "skipped", "closed", "except")}
        self.assertEqual(reply.json, {"code": "OK", "members": sum(counts.values()), **counts})

    async def check_got(self, client: Wire, *payloads: bytes) -> None:
        """A client got these messages of text, and nothing more."""
        self.assertEqual([(await client.frame()) for _ in payloads], [Frame(TEXT, payload) for payload in payloads])
        await self.check_alive(client)


class PublishTests(ByNameTestCase):
    """``PUT base/<target>``."""

    async def test_targets(self) -> None:
        """Each member once, nobody else; 0 is no error."""
        await self.begin()
        (one, _), (two, _), (three, _) = (
            await self.member("room", "ann"),
            await self.member("room"),
            await self.member(),
        )
        await self.check_counts(await self.ask("PUT", "groups/room", b"a"), sent=2)
        await self.check_counts(await self.ask("PUT", "users/ann", b"b"), sent=1)
        await self.check_counts(await self.ask("PUT", "all", b"c"), sent=3)
        await self.check_counts(await self.ask("PUT", "groups/none", b"d"))
        await self.check_got(one, b"a", b"b", b"c")
        await self.check_got(two, b"a", b"c")
        await self.check_got(three, b"c")

    async def test_names(self) -> None:
        """Whatever they are, once they are encoded."""
        await self.begin()
        for name in ("room 7", "a/b", "1, admins", "é🐎", "groups", "members", NOBODY, "...", "%2F", "*"):
            encoded = quote(name, safe="")
            client, ws_uri = await self.member(encoded, encoded)
            await self.check_counts(await self.ask("PUT", f"groups/{encoded}", b"a"), sent=1)
            await self.check_counts(await self.ask("PUT", f"users/{encoded}", b"b"), sent=1)
            await self.check_got(client, b"a", b"b")
            described = (await self.push("GET", ws_uri)).json
            self.assertEqual((described["groups"], described["user"]), ([name], name))
        self.assertEqual((await self.ask("GET", "groups/admins")).json["members"], 0)

    async def test_types(self) -> None:
        """As for a push."""
        await self.begin()
        client, _ = await self.member("room")
        await self.ask("PUT", "groups/room", b"\xff\x00", [("Content-Type", "image/png")])
        self.assertEqual(await client.frame(), Frame(BINARY, b"\xff\x00"))
        self.check_refused(await self.ask("PUT", "groups/room", b"\xff"), 400, "BAD_REQUEST")
        latin = [("Content-Type", "text/plain; charset=latin1")]
        self.check_refused(await self.ask("PUT", "groups/room", b"a", latin), 415, "UNSUPPORTED")
        self.check_refused(await self.ask("PUT", "groups/room", bytes(131073)), 413, "MESSAGE_TOO_LONG")
        await self.check_alive(client)

    async def test_everyone_but_the_sender(self) -> None:
        """The Ws-Id of a callback, passed on as it came."""
        await self.begin()
        (one, _), (two, _) = await self.member("room"), await self.member("room")
        one.send_text("hello")
        put = await self.api.call("PUT")
        reply = await self.ask("PUT", "groups/room", put.body, [("Ws-Except", put.header("Ws-Id") or "")])
        await self.check_counts(reply, sent=1, **{"except": 1})
        await self.check_got(two, b"hello")
        await self.check_alive(one)

    async def test_held(self) -> None:
        """To one in its handshake: first behind the 101."""
        await self.begin()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        joined = await self.push("PUT", f"{post.ws_uri}/groups/room", None, [BEARER])
        self.assertEqual(joined.json, {"code": "OK", "joined": 1})
        await self.check_counts(await self.ask("PUT", "groups/room", b"a"), held=1)
        post.answer()
        self.assertEqual((await client.reply()).status, 101)
        await self.check_got(client, b"a")

    async def test_slow(self) -> None:
        """Passed over, or closed with 1013, by ``slow``."""
        await self.begin(WS_MAX_MESSAGE="131072", WS_MAX_BUFFER="262144")
        client, ws_uri = await self.connected_narrow()
        await self.push("PUT", f"{ws_uri}/groups/room", None, [BEARER])
        await self.fill(client, ws_uri)
        body = bytes(131072)
        kind = [("Content-Type", "image/png")]
        await self.check_counts(await self.ask("PUT", "groups/room", body, [*kind, ("Ws-Slow", "skip")]), skipped=1)
        await self.check_counts(await self.ask("PUT", "groups/room", body, kind), closed=1)
        await self.check_counts(await self.ask("PUT", "groups/room", body, kind))
        client.drop()
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1013", "slow"))

    async def test_repeated(self) -> None:
        """With its Idempotency-Key it is answered with all counts, and sends nothing."""
        await self.begin()
        client, _ = await self.member("room", "ann")
        for _ in range(3):
            await self.check_counts(await self.ask("PUT", "groups/room", b"a", [("Idempotency-Key", "k")]), sent=1)
        await self.check_counts(await self.ask("PUT", "users/ann", b"b", [("Idempotency-Key", "k")]), sent=1)
        await self.check_got(client, b"a", b"b")

    async def test_bad_headers(self) -> None:
        """400, and nobody gets anything."""
        await self.begin()
        client, ws_uri = await self.member("room")
        for header in (
            ("Ws-Except", "self"),
            ("Ws-Except", ws_uri.rpartition("/")[2]),
            ("Ws-Except", ", ".join([tag_of(NOBODY)] * 65)),
            ("Ws-Slow", "no"),
            ("Ws-Confirm", "1000"),
            ("Idempotency-Key", "a b"),
        ):
            self.check_refused(await self.ask("PUT", "groups/room", b"a", [header]), 400, "BAD_REQUEST")
        await self.check_alive(client)

    async def test_order(self) -> None:
        """For one client, what was answered goes out before what was begun afterwards, whatever both were."""
        await self.begin()
        client, ws_uri = await self.member("room", "ann")
        expected = []
        for number in range(40):
            body = b"%d" % number
            line = json.dumps({"to": ["groups/room", ws_uri], "text": str(number)}).encode()
            requests = (("PUT", "groups/room", body), ("PUT", "users/ann", body), ("PUT", "all", body))
            method, target, content = (*requests, ("POST", "batch", line))[number % 4]
            self.check_ok(await self.ask(method, target, content))
            self.check_ok(await self.put_text(ws_uri, f"p{number}"))
            expected += [body, b"p" + body]
        await self.check_got(client, *expected)


class MembersTests(ByNameTestCase):
    """Counts, listings, closing."""

    async def test_counts_and_listings(self) -> None:
        """Each once, page by page."""
        await self.begin()
        uris = [(await self.member("room", "ann"))[1] for _ in range(5)]
        for target in ("groups/room", "users/ann", "all"):
            self.assertEqual((await self.ask("GET", target)).json, {"code": "OK", "members": 5})
            self.assertEqual((await self.ask("HEAD", target)).status, 200)
            told: list[dict[str, Any]] = []
            after = ""
            for size in (2, 2, 1):
                page = (await self.ask("GET", f"{target}/members?limit=2&ws_uri=1{after}")).json
                self.assertEqual(len(page["members"]), size)
                told += page["members"]
                after = f"&after={page['next']}"
            self.assertIsNone(page["next"])
            self.assertEqual({each["ws_uri"] for each in told}, set(uris))
            self.assertEqual({each["id"] for each in told}, {tag_of(uri.rpartition("/")[2]) for uri in uris})
            for each in told:
                self.assertEqual(set(each), {"id", "user", "state", "connected_at", "ws_uri"})
                self.assertEqual((each["user"], each["state"]), ("ann", None))
                self.assertRegex(each["connected_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        for query in ("limit=0", "limit=1001", "after=x", "more=1"):
            self.check_refused(await self.ask("GET", f"all/members?{query}"), 400, "BAD_REQUEST")

    async def test_log_out_the_other_tabs(self) -> None:
        """After what was published before; the one that asked stays."""
        await self.begin()
        (one, one_uri), (two, _) = await self.member("", "ann"), await self.member("", "ann")
        await self.ask("PUT", "users/ann", b"bye")
        reply = await self.ask(
            "DELETE",
            "users/ann?code=4001&reason=elsewhere",
            headers=[("Ws-Except", tag_of(one_uri.rpartition("/")[2]))],
        )
        self.check_ok(reply)
        self.assertEqual(reply.json, {"code": "OK", "closed": 1})
        self.assertEqual(await two.frame(), Frame(TEXT, b"bye"))
        self.assertEqual(await two.frame(), Frame(CLOSE, close_payload(4001, "elsewhere")))
        await self.check_got(one, b"bye")
        two.drop()
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("4001", "api"))
        self.check_refused(await self.ask("DELETE", "groups/a?code=1005"), 400, "BAD_REQUEST")

    async def test_empty_a_group(self) -> None:
        """Nobody is closed."""
        await self.begin()
        client, ws_uri = await self.member("room,other")
        reply = await self.ask("DELETE", "groups/room/members")
        self.assertEqual(reply.json, {"code": "OK", "left": 1})
        self.assertEqual((await self.push("GET", ws_uri)).json["groups"], ["other"])
        await self.check_alive(client)


class MembershipsTests(ByNameTestCase):
    """A connection's groups, and those of a user's connections."""

    async def test_one_connection(self) -> None:
        """Joins, in order; leaves one, or all."""
        await self.begin(PUSH_TOKEN="a-token-that-pushes")
        _, ws_uri = await self.member("a")
        for name, joined in (("b", 1), ("a", 0), ("c", 1), ("d", 1), ("e", 1)):
            reply = await self.push("PUT", f"{ws_uri}/groups/{name}", None, [BEARER])
            self.assertEqual(reply.json, {"code": "OK", "joined": joined})
        self.check_refused(await self.push("PUT", f"{ws_uri}/groups/f", None, [BEARER]), 409, "TOO_MANY_GROUPS")
        self.assertEqual((await self.push("GET", ws_uri, None, [PUSHER])).json["groups"], ["a", "b", "c", "d", "e"])
        reply = await self.push("DELETE", f"{ws_uri}/groups/b", None, [PUSHER])
        self.assertEqual(reply.json, {"code": "OK", "left": 1})
        reply = await self.push("DELETE", f"{ws_uri}/groups", None, [PUSHER])
        self.assertEqual(reply.json, {"code": "OK", "left": 4})
        self.check_refused(await self.ask("PUT", f"{NOBODY}/groups/a"), 404, "NOT_FOUND")
        self.check_refused(await self.push("PUT", f"{ws_uri}/groups/..", None, [BEARER]), 400, "BAD_REQUEST")

    async def test_a_user(self) -> None:
        """All of its present connections."""
        await self.begin()
        full = "a,b,c,d,e"
        (_, one), (_, two) = await self.member("", "ann"), await self.member(full, "ann")
        reply = await self.ask("PUT", "users/ann/groups/new")
        self.assertEqual(reply.json, {"code": "OK", "joined": 1, "left": 0, "full": 1})
        reply = await self.ask("DELETE", "users/ann/groups/a")
        self.assertEqual(reply.json, {"code": "OK", "joined": 0, "left": 1, "full": 0})
        self.assertEqual((await self.push("GET", one)).json["groups"], ["new"])
        self.assertEqual((await self.push("GET", two)).json["groups"], ["b", "c", "d", "e"])

    async def test_groups_at_the_end(self) -> None:
        """What was joined by request is in the DELETE, too."""
        await self.begin()
        client, ws_uri = await self.member("a")
        await self.push("PUT", f"{ws_uri}/groups/b%2C%20c", None, [BEARER])
        client.drop()
        self.assertEqual((await self.api.call("DELETE")).header("Ws-Groups"), "a, b%2C%20c")


class BatchTests(ByNameTestCase):
    """``POST base/batch``."""

    async def batch(self, *lines: object) -> list[Any]:
        """:returns: the results"""
        body = "\n".join(map(json.dumps, lines)).encode()
        reply = await self.ask("POST", "batch", body, [("Content-Type", "application/x-ndjson")])
        self.check_ok(reply)
        results: list[Any] = reply.json["results"]
        return results

    async def test_lines(self) -> None:
        """In order, each with what became of it."""
        await self.begin()
        (one, one_uri), (two, two_uri) = await self.member("a%20b"), await self.member("a%20b", "bob")
        gone = f"http://h/{NOBODY}"
        results = await self.batch(
            {"to": "groups/a b", "text": "1"},
            {"to": ["users/bob", one_uri, two_uri.rpartition("/")[2], gone], "text": "2"},
            {"to": "groups/..", "text": "3"},
            {"to": "all", "text": "x" * 131073},
            {"to": "all", "base64": "/w==", "except": [tag_of(one_uri.rpartition("/")[2])], "slow": "skip"},
        )
        self.assertEqual([each["code"] for each in results], ["OK", "OK", "BAD_REQUEST", "MESSAGE_TOO_LONG", "OK"])
        self.assertEqual([each.get("sent") for each in results], [2, 2, None, None, 1])
        self.assertEqual(results[1]["failed"], {gone: "NOT_FOUND"})
        self.assertEqual(results[4]["except"], 1)
        await self.check_got(one, b"1", b"2")
        for expected in (Frame(TEXT, b"1"), Frame(TEXT, b"2"), Frame(BINARY, b"\xff")):
            self.assertEqual(await two.frame(), expected)

    async def test_bounds(self) -> None:
        """413 before anything is done, also while it comes."""
        await self.begin(PUSH_MAX_BATCH="200000")
        client, _ = await self.member()
        line = b'{"to": "all", "text": "a"}\n'
        many = json.dumps({"to": ["all"] * 1001, "text": "a"}).encode()
        for body in (line * 1001, line + many, line + bytes(200_000)):
            self.check_refused(await self.ask("POST", "batch", body), 413, "MESSAGE_TOO_LONG")
        wire = await self.dial()
        wire.send(self.request("POST", f"http://h:{self.port}/batch", None, [BEARER, ("Transfer-Encoding", "chunked")]))
        wire.send(b"%x\r\n" % 300_000 + bytes(300_000))
        self.check_refused(await wire.reply(), 413, "MESSAGE_TOO_LONG")
        await self.check_alive(client)
        big = [{"to": "all", "text": "a" * 100_000}] * 2
        self.check_refused(
            await self.ask("POST", "batch", "\n".join(map(json.dumps, big)).encode()), 413, "MESSAGE_TOO_LONG"
        )
        self.assertEqual([each["sent"] for each in await self.batch(big[0], {"to": "all", "text": "b"})], [1, 1])


class WhoMayTests(ByNameTestCase):
    """``PUBLISH_TOKEN``, apart from ``PUSH_TOKEN``."""

    REQUESTS = (
        ("PUT", "groups/room"),
        ("GET", "groups/room"),
        ("DELETE", "groups/room"),
        ("GET", "groups/room/members"),
        ("DELETE", "groups/room/members"),
        ("PUT", "users/ann"),
        ("GET", "users/ann"),
        ("DELETE", "users/ann"),
        ("GET", "users/ann/members"),
        ("PUT", "users/ann/groups/x"),
        ("DELETE", "users/ann/groups/x"),
        ("PUT", "all"),
        ("GET", "all"),
        ("GET", "all/members"),
        ("POST", "batch"),
    )

    async def test_tokens(self) -> None:
        """A token of ``PUSH_TOKEN`` opens pushes, leaving and asking; not even joining."""
        await self.begin(PUSH_TOKEN="a-token-that-pushes")
        client, ws_uri = await self.member("room", "ann")
        key = ws_uri.rpartition("/")[2]
        wrong: tuple[Fields, ...] = ((), (PUSHER,), (("Authorization", "Bearer wrong"),), (BEARER, BEARER))
        for token in wrong:
            for method, target in (*self.REQUESTS, ("PUT", f"{key}/groups/x"), ("PUT", "groups/..")):
                reply = await self.ask(method, target, b"", token=token)
                self.check_refused(reply, 401, "UNAUTHORIZED")
                self.assertEqual(reply.header("WWW-Authenticate"), "Bearer")
        for method, uri in (("PUT", ws_uri), ("GET", ws_uri), ("DELETE", f"{ws_uri}/groups/x")):
            for each in (PUSHER, BEARER):
                self.check_ok(await self.push(method, uri, b"", [each]))
            self.check_refused(await self.push(method, uri, b""), 401, "UNAUTHORIZED")
        self.assertEqual([await client.frame() for _ in range(2)], [Frame(TEXT, b"")] * 2)
        await self.check_alive(client)

    async def test_publish_token_alone(self) -> None:
        """A push needs none."""
        await self.begin()
        _, ws_uri = await self.member("room")
        self.check_ok(await self.push("PUT", ws_uri, b"a"))
        self.check_ok(await self.push("DELETE", f"{ws_uri}/groups"))
        self.check_refused(await self.push("PUT", f"{ws_uri}/groups/x"), 401, "UNAUTHORIZED")
        self.check_refused(await self.ask("GET", "all", token=()), 401, "UNAUTHORIZED")

    async def test_without_publish_token(self) -> None:
        """These requests do not exist: 404 and 426, and one line names the setting."""
        await self.begin(PUBLISH_TOKEN="")
        client, ws_uri = await self.member("room", "ann")
        key = ws_uri.rpartition("/")[2]
        for method, target in (
            *self.REQUESTS,
            ("PUT", f"groups/{key}"),
            ("GET", f"groups/{key}"),
            ("PUT", f"{key}/groups/x"),
        ):
            reply = await self.ask(method, target, b"")
            self.assertEqual(reply.status, 404 if method in ("PUT", "DELETE") else 426, (method, target))
        await self.check_alive(client)
        self.assertEqual(self.logged().count("PUBLISH_TOKEN"), 1)
        # Not even of a back end that asks in vain: names of groups and users are in no line above DEBUG.
        for name in ("groups/room", "users/ann"):
            self.assertNotIn(name, self.logged())
        self.assertIn("GET /groups/…/members", self.logged())
        self.assertEqual((await self.push("DELETE", f"{ws_uri}/groups")).json["left"], 1)

    async def test_methods(self) -> None:
        """405, with Allow, before the token."""
        await self.begin()
        for method, target, allowed in (
            ("POST", "groups/a", "GET, HEAD, PUT, DELETE"),
            ("DELETE", "all", "GET, HEAD, PUT"),
            ("PUT", "groups/a/members", "GET, HEAD, DELETE"),
            ("DELETE", "users/a/members", "GET, HEAD"),
            ("GET", "users/a/groups/b", "PUT, DELETE"),
            ("GET", f"{NOBODY}/groups", "DELETE"),
            ("PUT", "batch", "POST"),
        ):
            reply = await self.ask(method, target, token=())
            self.check_refused(reply, 405, "METHOD_NOT_ALLOWED")
            self.assertEqual(reply.header("Allow"), allowed)

    async def test_listeners(self) -> None:
        """With ``PUSH_LISTEN``: there, and only there; handshakes where clients are, on every path."""
        pushes = free_port()
        await self.begin(PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{pushes}")
        await self.connect("/groups/room")
        self.assertEqual((await self.ask("PUT", "all", b"a")).status, 405)
        self.assertEqual((await self.ask("GET", "all")).status, 405)
        await self.check_counts(await self.push("PUT", f"http://127.0.0.1:{pushes}/all", b"a", [BEARER]), sent=1)
        wire = await self.dial(pushes)
        wire.send(handshake("/groups/room"))
        self.check_refused(await wire.reply(), 401, "UNAUTHORIZED")
        self.assertEqual(len(self.api.calls), 1)


class AnswersTests(ByNameTestCase):
    """The groups that an answer gives, and those that a request gives, are the same."""

    async def test_both(self) -> None:
        """Left by an answer, joined by a request."""
        await self.begin()
        client, ws_uri = await self.member("a,b")
        self.api.script["PUT"] = Answer(headers=[("Ws-Leave", "a"), ("Ws-Join", "c"), ("Ws-User", "eve")])
        client.send_text("x")
        await self.api.call("PUT")
        client.send_text("y")
        await self.api.call("PUT")
        described = (await self.push("GET", ws_uri)).json
        self.assertEqual((described["groups"], described["user"]), (["b", "c"], "eve"))
        self.assertEqual((await self.ask("GET", "users/eve")).json["members"], 1)
