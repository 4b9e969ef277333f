"""Users, groups and publishes that answers ask for, on real sockets (protocol §2.4 and §6)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.contract.case import ContractTestCase
from tests.recording_api import OK, Answer, Call
from tests.waiting import reactor
from tests.wire import BINARY, TEXT, Fields, Frame, Wire, handshake
from wsaas.connections.identity import tag_of
from wsaas.connections.messages import Publication
from wsaas.errors import OverloadedError
from wsaas.groups import membership
from wsaas.groups.publishing import Publishing

#: A name that shows whether it is encoded, decoded once, and kept.
ODD = "ünal, 100 %2F;*"
CODED = quote(ODD, safe="")


class AnswerGroupsCase(ContractTestCase):
    """Clients that an API puts into groups."""

    def granting(self, *headers: tuple[str, str]) -> None:
        """The next POSTs are answered with these headers."""
        self.api.script["POST"] = Answer(headers=headers)

    async def admitted(self, *headers: tuple[str, str]) -> tuple[Wire, str]:
        """:returns: a client that was let in with these headers, and its ``ws_uri``"""
        self.granting(*headers)
        return await self.connected()

    async def answered(self, client: Wire, *headers: tuple[str, str], body: bytes = b"") -> Call:
        """A client sends a message.

        :returns: the PUT, which was answered with these headers
        """
        self.api.script["PUT"] = Answer(200, body, headers)
        client.send_text("message")
        call = await self.api.call("PUT")
        self.api.script["PUT"] = Answer()
        return call

    async def asked(self, client: Wire) -> Call:
        """:returns: the PUT of a further message, answered with nothing"""
        return await self.answered(client)

    async def gone(self, client: Wire, ws_uri: str) -> Call:
        """:returns: the DELETE, after the client went away"""
        client.send_close(1000)
        return await self.api.call("DELETE", ws_uri)

    async def groups(self, client: Wire, ws_uri: str) -> list[str]:
        """:returns: the ``Ws-Groups`` at its end"""
        return (await self.gone(client, ws_uri)).all("Ws-Groups")

    async def refused(self, client: Wire, code: int = 1011, by: str = "error") -> Call:
        """:returns: the DELETE, after the client was closed with this code"""
        await client.closed(code)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), (str(code), by))
        self.assertIsNone(delete.header("Ws-Undelivered"))
        return delete

    async def nothing_came(self, client: Wire) -> None:
        """The client got no frame: its own message comes back first."""
        await self.answered(client, ("Ws-Reply", "text"), body=b"marker")
        self.assertEqual(await client.frame(), Frame(TEXT, b"marker"))


class UserTests(AnswerGroupsCase):
    """``Ws-User``."""

    async def test_every_later_callback(self) -> None:
        """From the POST or a PUT on, encoded as it was given; an empty one removes it."""
        await self.serve()
        client, ws_uri = await self.admitted(("Ws-User", CODED), ("Ws-State", "s"))
        self.assertIsNone(self.api.calls[0].header("Ws-User"))
        first = await self.asked(client)
        self.assertEqual((first.header("Ws-User"), first.header("Ws-State")), (CODED, "s"))
        await self.answered(client, ("Ws-User", "bob"), ("Ws-User", " bob ,"))
        second = await self.answered(client, ("Ws-State", ""))
        self.assertEqual((second.header("Ws-User"), second.header("Ws-State")), ("bob", "s"))
        third = await self.answered(client, ("Ws-User", ""))
        self.assertEqual((third.header("Ws-User"), third.header("Ws-State")), ("bob", None))
        self.assertIsNone((await self.asked(client)).header("Ws-User"))
        await self.answered(client, ("Ws-User", "ann"))
        self.assertEqual((await self.gone(client, ws_uri)).header("Ws-User"), "ann")

    async def test_the_members_of_a_user(self) -> None:
        """All its connections get what is published to it; none of another, or of none any more."""
        await self.serve()
        tabs = [(await self.admitted(("Ws-User", CODED)))[0] for _ in range(2)]
        other, _ = await self.admitted(("Ws-User", "other"))
        former, _ = await self.admitted(("Ws-User", CODED))
        await self.answered(former, ("Ws-User", ""))
        await self.answered(other, ("Ws-Publish", f"text users/{CODED}"), body="grün".encode())
        for tab in tabs:
            self.assertEqual(await tab.frame(), Frame(TEXT, "grün".encode()))
        for client in (other, former):
            await self.nothing_came(client)

    async def test_of_an_earlier_process(self) -> None:
        """The DELETE of the next one has it, and no groups."""
        settings = {"STATE_DIR": str(self.scratch().absolute() / "new"), "API_DELETE_FOR": "60000"}
        gateway = await self.serve(**settings)
        client, ws_uri = await self.admitted(("Ws-User", CODED), ("Ws-Join", "a"), ("Ws-State", "s"))
        await self.answered(client, ("Ws-User", "bob"))
        self.api.script["DELETE"] = Answer(503)
        client.send_close(1000)
        self.assertEqual((await self.api.call("DELETE")).header("Ws-Groups"), "a")
        self.gateway = None
        await gateway.stopService()
        self.api.calls = [call for call in self.api.calls if call.method != "DELETE"]
        self.api.script["DELETE"] = Answer()
        await self.serve(**settings)
        delete = await self.api.call("DELETE", ws_uri)
        self.assertEqual((delete.header("Ws-User"), delete.header("Ws-State")), ("bob", "s"))
        self.assertEqual(delete.all("Ws-Groups") + delete.all("Ws-Groups-Left-Out"), [])

    async def test_forged(self) -> None:
        """A client that says who it is is not believed, whatever it writes."""
        await self.serve(FORWARD_HEADERS="Authorization, X-Other")
        forged = [("Ws-User", "admin"), ("ws_user", "admin"), ("WS-USER", "admin"), ("Ws-Groups", "admins")]
        life = await self.life(headers=forged)
        for call in life.calls:
            for name in ("Ws-User", "ws_user", "Ws-Groups"):
                self.assertEqual(call.all(name), [], call.method)


class JoinTests(AnswerGroupsCase):
    """``Ws-Join`` and ``Ws-Leave``."""

    async def test_on_the_post(self) -> None:
        """In it before the 101: what is published meanwhile goes out first."""
        await self.serve()
        sender, _ = await self.admitted(("Ws-Join", "lurkers"))
        client, ws_uri = await self.admitted(("Ws-Join", f"{CODED}, b"), ("Ws-Join", "c,,b"))
        await self.answered(sender, ("Ws-Publish", f"binary groups/{CODED}"), body=b"\xff\0")
        self.assertEqual(await client.frame(), Frame(BINARY, b"\xff\0"))
        self.assertEqual(await self.groups(client, ws_uri), [f"{CODED}, b, c"])

    async def test_on_a_put(self) -> None:
        """Left first, then joined, in this order; all, or some; one that it is not in is no error."""
        await self.serve()
        client, ws_uri = await self.admitted(("Ws-Join", "a, b, c"))
        await self.answered(client, ("Ws-Join", "d, a"), ("Ws-Leave", "a, x"))
        await self.answered(client, ("Ws-Leave", "b"), ("Ws-Leave", "%64"))
        self.assertEqual(await self.groups(client, ws_uri), ["c, a"])
        client, ws_uri = await self.admitted(("Ws-Join", "a, b, %2A"))
        await self.answered(client, ("Ws-Leave", "*"), ("Ws-Join", "z"))
        self.assertEqual(await self.groups(client, ws_uri), ["z"])
        client, ws_uri = await self.admitted(("Ws-Join", "a"))
        await self.answered(client, ("Ws-Leave", "*"))
        self.assertEqual(await self.groups(client, ws_uri), [])

    async def test_leave_has_no_meaning_on_the_post(self) -> None:
        """Nor has a publish: the client is let in."""
        await self.serve()
        client, ws_uri = await self.admitted(
            ("Ws-Join", "a"), ("Ws-Leave", "a b"), ("Ws-Publish", "nonsense"), ("Ws-Except", "nonsense")
        )
        self.assertEqual(await self.groups(client, ws_uri), ["a"])

    async def test_many(self) -> None:
        """1 KiB of them, whole names; the rest is a number."""
        await self.serve(WS_MAX_GROUPS="1000")
        names = [f"{number:050}" for number in range(1000)]
        client, ws_uri = await self.admitted(
            *[("Ws-Join", ", ".join(names[at : at + 100])) for at in range(0, 1000, 100)]
        )
        delete = await self.gone(client, ws_uri)
        listed = (delete.header("Ws-Groups") or "").split(", ")
        self.assertEqual(listed, names[: len(listed)])
        self.assertLessEqual(len(delete.header("Ws-Groups") or ""), 1024)
        self.assertEqual(delete.header("Ws-Groups-Left-Out"), str(1000 - len(listed)))

    async def test_too_many_on_the_post(self) -> None:
        """502, and a DELETE by ``error``."""
        await self.serve(WS_MAX_GROUPS="2")
        self.granting(("Ws-User", "bob"), ("Ws-Join", "a, b, c"))
        self.assertEqual((await self.shake(handshake())).status, 502)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1011", "error"))
        self.assertEqual((delete.header("Ws-User"), delete.header("Ws-Groups")), ("bob", None))
        await self.until_logged("Ws-Join.*WS_MAX_GROUPS")

    async def test_too_many_on_a_put(self) -> None:
        """1011; what stands before it is done, what stands behind it is not."""
        await self.serve(WS_MAX_GROUPS="2")
        client, _ = await self.admitted(("Ws-Join", "a, b"))
        await self.answered(client, ("Ws-Leave", "b"), ("Ws-Join", "c, d"), ("Ws-Reply", "text"), ("Ws-User", "bob"))
        delete = await self.refused(client)
        self.assertEqual((delete.header("Ws-User"), delete.header("Ws-Groups")), ("bob", "a"))

    async def test_no_memberships_left(self) -> None:
        """503 and 1013, and in both cases a DELETE that says so."""
        self.patch(membership, "PER_CONNECTION", 0)
        self.patch(membership, "AT_LEAST", 1)
        await self.serve()
        client, _ = await self.admitted(("Ws-Join", "a"))
        self.granting(("Ws-Join", "a"))
        reply = await self.shake(handshake())
        self.assertEqual((reply.status, reply.header("Retry-After")), (503, "5"))
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1013", "unreachable"))
        await self.answered(client, ("Ws-Join", "b"))
        delete = await self.refused(client, 1013, "unreachable")
        self.assertEqual(delete.header("Ws-Groups"), "a")

    async def test_bad_names(self) -> None:
        """502 or 1011, and a DELETE by ``error``; the log says what is wrong, but not the name."""
        await self.serve()
        for name in ("secret room", "secret/room", "secret%zz", "..", "%00", "*", "x" * 65):
            for header in ("Ws-Join", "Ws-User"):
                self.granting((header, name))
                self.assertEqual((await self.shake(handshake())).status, 502, name)
                self.assertEqual((await self.api.call("DELETE")).header("Ws-Closed-By"), "error")
        for header, value in (
            ("Ws-Join", "ok, secret room"),
            ("Ws-Leave", "*, secret"),
            ("Ws-User", "secret, other"),
        ):
            client, _ = await self.admitted()
            await self.answered(client, (header, value))
            await self.refused(client)
        self.assertNotIn("secret", self.logged())

    async def test_a_client_that_left(self) -> None:
        """Its user is kept for the DELETE; it joins nothing."""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        client.drop()
        await self.until_gone(post.ws_uri)
        post.answer(headers=[("Ws-User", "bob"), ("Ws-Join", "a")])
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-User"), delete.all("Ws-Groups")), ("bob", []))


class PublishTests(AnswerGroupsCase):
    """``Ws-Publish``."""

    async def test_targets(self) -> None:
        """Groups, users, everyone; each member once, however often it is meant."""
        await self.serve()
        one, _ = await self.admitted(("Ws-Join", f"a, {CODED}"), ("Ws-User", "u"))
        two, _ = await self.admitted(("Ws-Join", "a"))
        three, _ = await self.admitted(("Ws-User", "u"))
        four, _ = await self.admitted()
        for targets, members in (
            ("groups/a", [one, two]),
            (f"groups/{CODED},users/u", [one, three]),
            ("users/u, groups/a, users/u, groups/nobody", [one, two, three]),
            ("groups/a, all", [one, two, three, four]),
            ("groups/nobody", []),
        ):
            await self.answered(four, ("Ws-Publish", f"text {targets}"), body=targets.encode())
            for client in members:
                self.assertEqual(await client.frame(), Frame(TEXT, targets.encode()))
        for client in (one, two, three, four):
            await self.nothing_came(client)

    async def test_beside_a_reply(self) -> None:
        """The sender has it as the reply only, whatever its kind; and others not at all, if they are named."""
        await self.serve()
        sender, _ = await self.admitted(("Ws-Join", "a"))
        other, _ = await self.admitted(("Ws-Join", "a"))
        third, third_uri = await self.admitted(("Ws-Join", "a"))
        tag = tag_of(third_uri.rpartition("/")[2])
        await self.answered(
            sender,
            ("Ws-Publish", "text groups/a"),
            ("Ws-Reply", "binary"),
            ("Ws-Except", f"{tag}-0"),
            ("Ws-Slow", "skip"),
            body=b"x",
        )
        self.assertEqual(await sender.frame(), Frame(BINARY, b"x"))
        self.assertEqual(await other.frame(), Frame(TEXT, b"x"))
        await self.answered(sender, ("Ws-Publish", "text groups/a"), ("Ws-Except", "self"), body=b"y")
        self.assertEqual(await other.frame(), Frame(TEXT, b"y"))
        self.assertEqual(await third.frame(), Frame(TEXT, b"y"))
        await self.nothing_came(sender)

    async def test_order(self) -> None:
        """It leaves and joins before it publishes, and closes in the end."""
        await self.serve()
        client, ws_uri = await self.admitted(("Ws-Join", "old"))
        await self.answered(
            client,
            ("Ws-Close", "4000 bye"),
            ("Ws-Publish", "text groups/old, groups/new"),
            ("Ws-Join", "new"),
            ("Ws-Leave", "old"),
            body=b"welcome",
        )
        self.assertEqual(await client.frame(), Frame(TEXT, b"welcome"))
        await client.closed(4000, "bye")
        self.assertEqual((await self.api.call("DELETE", ws_uri)).header("Ws-Groups"), "new")

    async def test_after_the_client_has_gone(self) -> None:
        """Others get it all the same, and the DELETE comes after it."""
        await self.serve()
        other, _ = await self.admitted(("Ws-Join", "a"))
        client, ws_uri = await self.admitted(("Ws-Join", "a"))
        self.api.script["PUT"] = None
        client.send_text("my last words")
        put = await self.api.call("PUT")
        client.drop()
        await self.until_gone(ws_uri)
        put.answer(200, b"his last words", [("Ws-Publish", "text groups/a"), ("Ws-User", "late")])
        self.assertEqual(await other.frame(), Frame(TEXT, b"his last words"))
        delete = await self.api.call("DELETE", ws_uri)
        self.assertEqual((delete.header("Ws-User"), delete.header("Ws-Groups")), ("late", "a"))

    async def test_last_words(self) -> None:
        """The answer to the DELETE publishes, too."""
        await self.serve()
        other, _ = await self.admitted(("Ws-Join", "a"))
        client, ws_uri = await self.admitted(("Ws-Join", "a"))
        headers = [("Ws-Publish", "text groups/a"), ("Ws-Except", "self"), ("Ws-Join", "no name")]
        self.api.script["DELETE"] = Answer(200, b"Bob left", headers)
        client.send_close(1000)
        self.assertEqual(await other.frame(), Frame(TEXT, b"Bob left"))
        self.assertEqual(len(self.api.of(ws_uri)), 2)

    async def test_unusable(self) -> None:
        """1011 on a PUT; nobody gets anything."""
        await self.serve()
        other, _ = await self.admitted(("Ws-Join", "a"))
        for headers, body in self.UNUSABLE:
            client, _ = await self.admitted()
            await self.answered(client, *headers, body=body)
            await self.refused(client)
        await self.nothing_came(other)

    async def test_unusable_last_words(self) -> None:
        """An error in the log on a DELETE, which is done."""
        await self.serve()
        other, _ = await self.admitted(("Ws-Join", "a"))
        for count, (headers, body) in enumerate(self.UNUSABLE, 1):
            client, ws_uri = await self.admitted()
            self.api.script["DELETE"] = Answer(200, body, headers)
            client.send_close(1000)
            await self.api.call("DELETE", ws_uri)
            await self.until_logged(f"(the answer to the DELETE: [^\n]*\n[^\\0]*){{{count}}}")
        await self.nothing_came(other)

    UNUSABLE: tuple[tuple[Fields, bytes], ...] = (
        ([("Ws-Publish", "groups/a")], b""),
        ([("Ws-Publish", "text")], b""),
        ([("Ws-Publish", "text groups/a b")], b""),
        ([("Ws-Publish", "text groups/..")], b""),
        ([("Ws-Publish", "text groups/a"), ("Ws-Publish", "text groups/a")], b""),
        ([("Ws-Publish", "text groups/a"), ("Ws-Except", "me")], b""),
        ([("Ws-Publish", "text groups/a"), ("Ws-Except", ", ".join(["A" * 22] * 65))], b""),
        ([("Ws-Publish", "text groups/a"), ("Ws-Slow", "wait")], b""),
        ([("Ws-Publish", "text groups/a")], b"\xff"),
        ([("Ws-Publish", "text groups/a"), ("Content-Encoding", "gzip")], b"\x1f\x8b"),
    )

    async def test_a_slow_member(self) -> None:
        """It is passed over, or closed with 1013 by ``slow``; the others have all of it."""
        await self.serve(WS_MAX_BUFFER="400000", WS_MAX_MESSAGE="200000")
        self.granting(("Ws-Join", "a"))
        slow, slow_uri = await self.connected_narrow()
        sender, _ = await self.admitted(("Ws-Join", "a"))
        body = bytes(200_000)
        for number in range(40):
            await self.answered(sender, ("Ws-Publish", "binary groups/a"), ("Ws-Slow", "skip"), body=body)
            self.assertEqual(await sender.frame(), Frame(BINARY, body), number)
        self.assertEqual((await self.push("HEAD", slow_uri)).status, 200)
        while (await self.push("HEAD", slow_uri)).status == 200:
            await self.answered(sender, ("Ws-Publish", "binary groups/a"), body=body)
            self.assertEqual(await sender.frame(), Frame(BINARY, body))
        slow.drop()
        delete = await self.api.call("DELETE", slow_uri)
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1013", "slow"))

    async def test_no_room(self) -> None:
        """It is tried again, the client is not read meanwhile, and its next message waits; then it is dropped."""
        full = True

        def publish(it: Publishing, publication: Publication, *, publish: Any = Publishing.publish) -> Any:
            if full:
                raise OverloadedError
            return publish(it, publication)

        self.patch(Publishing, "publish", publish)
        await self.serve(API_RETRY_FOR="300")
        client, ws_uri = await self.admitted(("Ws-Join", "a"))
        await self.answered(client, ("Ws-Publish", "text groups/a"), body=b"at last")
        client.send_text("next")
        full = False
        self.assertEqual(await client.frame(), Frame(TEXT, b"at last"))
        self.assertEqual((await self.api.call("PUT")).body, b"next")
        full = True
        began = reactor.seconds()
        await self.answered(client, ("Ws-Publish", "text groups/a"), body=b"never")
        client.send_text("last")
        self.assertEqual((await self.api.call("PUT")).body, b"last")
        self.assertGreater(reactor.seconds() - began, 0.25)
        full = False
        await self.until_logged("no room for what an answer publishes")
        await self.nothing_came(client)
        self.assertEqual((await self.gone(client, ws_uri)).header("Ws-Undelivered"), None)

    async def test_a_room(self) -> None:
        """A chat that needs no request back to the gateway."""
        await self.serve()

        def put(call: Call) -> None:
            call.answer(200, call.body, [("Ws-Publish", "text groups/chat")])

        self.granting(("Ws-Join", "chat"))
        clients = [await self.connect() for _ in range(3)]
        self.api.script["PUT"] = put
        for number, client in enumerate(clients):
            client.send_text(f"hello from {number}")
            for each in clients:
                self.assertEqual(await each.frame(), Frame(TEXT, b"hello from %d" % number))
        self.assertEqual(OK, self.api.calls[0].said)
