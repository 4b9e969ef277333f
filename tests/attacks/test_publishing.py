"""Requests by name: who has no token for them, or builds names out of what somebody typed."""

from __future__ import annotations

import json
from hmac import compare_digest
from time import perf_counter
from urllib.parse import urlsplit

from twisted.internet.task import LoopingCall

from bench.ports import free_port
from tests.attacks.attack import attack
from tests.attacks.pushes import EVIL, PushAttackTestCase, request
from tests.wire import NOBODY, Fields, handshake
from wsaas.pushes import tokens

PUBLISHER, PUSHER = "pX7-the-publishers-token", "kX1-the-pushers-token"
#: What is by name, and by which methods.
BY_NAME = (
    *((method, target) for method in ("PUT", "GET", "HEAD", "DELETE") for target in ("/groups/vip", "/users/ann")),
    *((method, target) for method in ("GET", "HEAD", "DELETE") for target in ("/groups/vip/members",)),
    *((method, "/users/ann/groups/vip") for method in ("PUT", "DELETE")),
    *((method, target) for method in ("GET", "HEAD") for target in ("/users/ann/members", "/all/members", "/all")),
    ("PUT", "/all"),
    ("POST", "/batch"),
)


class PublishingTests(PushAttackTestCase):
    """Publishing, listing, joining (protocol §6)."""

    title = "Groups, users, everyone: who may publish, and to whom"

    async def begin_by_name(self, **settings: str) -> None:
        """Start the gateway with both kinds of tokens; the bystander is in a group, and a user's."""
        self.push_fields = (("Authorization", f"Bearer {PUSHER}"),)
        await self.begin(PUSH_TOKEN=PUSHER, PUBLISH_TOKEN=f"another {PUBLISHER}", **settings)
        for target in (f"/{self.key}/groups/vip", "/users/ann/groups/x"):
            await self.told_each(self.bearing(PUBLISHER, "PUT", target))

    def bearing(self, token: str, method: str, target: str, fields: Fields = (), body: bytes = EVIL) -> bytes:
        """:returns: a request with a token"""
        return self.put([("Authorization", f"Bearer {token}"), *fields], body, method=method, target=target)

    @attack(
        "``PUSH_TOKEN`` used as ``PUBLISH_TOKEN``",
        sent="every request by name, and joining with the right key, with a token of ``PUSH_TOKEN``, behind pushes "
        "that it opened on the same connection; with the beginning of a right one, more than it, two in one field",
        answer="401",
    )
    async def test_push_token(self) -> str:
        await self.begin_by_name()
        join = ("PUT", f"/{self.key}/groups/vip")
        wrong = (PUSHER, PUBLISHER[:-1], f"{PUBLISHER}x", f"{PUSHER} {PUBLISHER}", f"{PUBLISHER},{PUBLISHER}", "")
        told = await self.told_each(*(self.bearing(token, *each) for token in wrong for each in (*BY_NAME, join)))
        wire = await self.pusher()
        # Its header lines are remembered by now.
        wire.send(b"".join(self.bearing(PUSHER, "GET", f"/{self.key}", body=b"") for _ in range(3)))
        wire.send(self.bearing(PUSHER, "GET", "/all", body=b""))
        self.assertEqual([(await wire.reply()).status for _ in range(4)], [200, 200, 200, 401])
        return told

    @attack(
        "Learning a token by the time that a refusal takes",
        sent="tokens that are wrong in the first character, in the last one, in their length, tokens of "
        "``PUSH_TOKEN``: each is compared as a hash, in constant time, and with as many tokens as any other",
        answer="401",
    )
    async def test_timing(self) -> str:
        await self.begin_by_name()
        compared: list[list[int]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared[-1].append(len(one) + len(other))
            return compare_digest(one, other)

        self.patch(tokens, "compare_digest", compare)
        got = []
        for token in (f"x{PUBLISHER[1:]}", f"{PUBLISHER[:-1]}x", "x", "x" * 4000, PUSHER, PUBLISHER[:-1]):
            compared.append([])
            got += await self.answers(self.bearing(token, "GET", "/all", body=b""))
        # Both scopes are asked, as whoever has a token is refused in another way than a stranger.
        self.assertEqual(compared[0], [64] * 7)
        self.assertEqual([each for each in compared if each != compared[0]], [])
        return self.statuses(*got)

    @attack(
        "Requests by name at the clients' listener, without ``PUBLISH_TOKEN``",
        sent="every request by name without a token and with one of ``PUSH_TOKEN``; a key as the name of a group: "
        "there are no such requests, and one line of the log names the setting",
        answer="401 or 404 or 426",
    )
    async def test_without_setting(self) -> str:
        self.push_fields = (("Authorization", f"Bearer {PUSHER}"),)
        await self.begin(PUSH_TOKEN=PUSHER)
        named = (
            *BY_NAME,
            ("PUT", f"/groups/{self.key}"),
            ("GET", f"/users/{self.key}"),
            ("PUT", f"/{self.key}/groups/vip"),
        )
        told = await self.told_each(
            *(self.put(method=method, target=target) for method, target in named),
            *(self.bearing(PUSHER, method, target) for method, target in named),
        )
        self.assertEqual(self.logged().count("PUBLISH_TOKEN"), 1)
        return told

    @attack(
        "Group requests on a clients' listener, where ``PUSH_LISTEN`` is set",
        sent="every request by name, with the right token, to ``WS_LISTEN``",
        answer="405",
    )
    async def test_wrong_listener(self) -> str:
        pushes = free_port()
        await self.begin_by_name(
            PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{pushes}"
        )
        self.assertEqual(urlsplit(self._bystanders_uri).port, pushes)
        self.pushes_at = self.port
        return await self.told_each(*(self.bearing(PUBLISHER, *each) for each in BY_NAME))

    @attack(
        "An upgrade at a listener of pushes that asks for no token",
        sent="handshakes on the paths of groups, users, all, members and batch: none opens a WebSocket, and none tells "
        "who is there",
        answer="401 or 405",
    )
    async def test_upgrade(self) -> str:
        pushes = free_port()
        await self.begin(
            PUBLISH_TOKEN=PUBLISHER,
            PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{pushes}",
        )
        paths = (
            "/groups/vip",
            "/users/ann",
            "/all",
            "/all/members",
            "/groups/vip/members",
            "/batch",
            "/users/a/groups/b",
        )
        return await self.told_each(*(handshake(path) for path in (*paths, f"/{self.key}/groups")))

    @attack(
        "A ``ws_uri`` that tries to join, to publish, to see others",
        sent="with nothing but a right ``ws_uri``: ``PUT`` on its groups, its key as a name, its key in a batch, its "
        "key and ``/../groups/vip``, ``/groups/vip`` behind it in the query",
        answer="400 or 401 or 404",
    )
    async def test_ws_uri(self) -> str:
        await self.begin(PUBLISH_TOKEN=PUBLISHER)
        key = self.key
        targets = [f"/{key}/groups/vip", f"/{key}/groups/{key}", f"/groups/{key}", f"/users/{key}/groups/vip"]
        targets += [f"/{key}/../groups/vip", f"/{key}//groups/vip", f"/{key}%2fgroups/vip", f"/{key}/groups%2fvip"]
        targets += [f"/x?/{key}/groups/vip", f"/{key};/groups", f"http://gateway.example/{key}/groups/vip"]
        line = json.dumps({"to": f"/{key}", "text": "evil"}).encode()
        return await self.told_each(
            *(self.put(target=target) for target in targets),
            self.put(body=line, method="POST", target=f"/{key}/batch"),
            self.put(method="DELETE", target=f"/{key}?reason=%FF"),
        )

    @attack(
        "Names built from what a user typed, without encoding",
        sent="``/groups/<name>`` with the right token and the names ``1, admins``, ``vip,x``, ``..``, ``.``, "
        "``../all``, ``x/all``, ``x/../../users/ann``, ``x#``, ``*``, ``;``, ``%``, ``%2``, ``%00``, ``%FF``, none, 65 "
        "characters; the same behind ``/users/`` and a key: each is refused, or (``all``) a name that nobody has",
        answer="200 or 400",
    )
    async def test_names(self) -> str:
        await self.begin_by_name()
        bad = [
            "1,%20admins",
            "1, admins".replace(" ", "\x85"),
            "vip,x",
            "..",
            ".",
            "x#",
            "*",
            ";",
            "%",
            "%2",
            "%00",
            "%FF",
            "",
        ]
        bad += [
            "../all",
            "x/all",
            "x/../../users/ann",
            "a" * 65,
            "vip%0d%0aWs-Except:x",
            "%C0%AE",
            "vip&x",
            "vip=1",
            "<script>",
            "$(id)",
            "'--\"",
        ]
        refused = [name for name in bad if name != "1,%20admins"]
        for before in ("/groups/", "/users/", f"/{self.key}/groups/", "/users/nobody/groups/"):
            told = await self.told_each(*(self.bearing(PUBLISHER, "PUT", f"{before}{name}") for name in refused))
            self.assertEqual(told, "400", before)
        harmless = [
            "all",
            "batch",
            "members",
            "users",
            "...",
            "%2E%2E%2E",
            NOBODY,
            "1%2C%20admins",
            "%252e",
            "%3Cscript%3E",
        ]
        for reply in await self.answers(*(self.bearing(PUBLISHER, "PUT", f"/groups/{name}") for name in harmless)):
            self.assertEqual((reply.status, reply.json["members"]), (200, 0))
        return "200 or 400"

    @attack(
        "A batch of everything",
        sent="lines for 1,000 targets each, 200 of them; 1,001 lines; a line for 1,001; more bytes than "
        "``PUSH_MAX_BATCH``, also in chunks; 100,000 brackets, a number of 100,000 digits, UTF-16, half a surrogate "
        "pair: what is too much is refused before anything is sent, and others have their turn all the while",
        answer="200 or 413",
    )
    async def test_batch(self) -> str:
        await self.begin_by_name(PUSH_MAX_BATCH="16000000")
        lags: list[float] = []
        last = [perf_counter()]

        def look() -> None:
            now = perf_counter()
            lags.append(now - last[0])
            last[0] = now

        looking = LoopingCall(look)
        looking.start(0.001)
        self.addCleanup(looking.stop)
        full = json.dumps({"to": [f"groups/{number}" for number in range(1000)], "text": "evil"}).encode()
        line = b'{"to": "groups/none", "text": "evil"}\n'
        more = json.dumps({"to": ["groups/none"] * 1001, "text": "evil"}).encode()
        odd = [
            b"[" * 100_000,
            b'{"to": ' + b"1" * 100_000 + b"}",
            "{}".encode("utf-16"),
            b'{"to": "all", "text": "\\ud800"}',
        ]
        odd += [json.dumps({"to": f"groups/{self.key}", "text": "evil"}).encode(), b'{"to": "all", "text": "\xff"}']
        statuses = await self.told_each(
            *(
                self.bearing(PUBLISHER, "POST", "/batch", body=body)
                for body in (line * 1001, line + more, bytes(16_000_001))
            ),
        )
        self.assertEqual(statuses, "413")
        chunks = [("Authorization", f"Bearer {PUBLISHER}"), ("Transfer-Encoding", "chunked")]
        self.assertEqual(
            await self.told_each(request("POST /batch HTTP/1.1", chunks, b"%x\r\n" % (1 << 25) + bytes(16_100_000))),
            "413",
        )
        (reply,) = await self.answers(self.bearing(PUBLISHER, "POST", "/batch", body=b"\n".join(odd)))
        self.assertEqual([each["code"] for each in reply.json["results"]], ["BAD_REQUEST"] * 4 + ["OK", "BAD_REQUEST"])
        before = len(lags)
        (reply,) = await self.answers(self.bearing(PUBLISHER, "POST", "/batch", body=b"\n".join([full] * 200)))
        self.assertEqual([each["members"] for each in reply.json["results"]], [0] * 200)
        # Had it been done in one go, hardly anything would have been looked at.
        self.assertGreater(len(lags) - before, 100)
        return "200 or 413"
