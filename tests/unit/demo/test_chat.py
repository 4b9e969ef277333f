"""The demo's chat API: called as the gateway calls it, its pushes received as the gateway receives them, in memory."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from wsaas.callbacks.client import ApiClient
from wsaas.demo.chat import MAX_TEXT, ChatApi
from wsaas.demo.traffic import Exchange, Traffic
from wsaas.net.http1.messages import Answer

HOST = "http://localhost:8080"


class Gateway(Resource):
    """Receives pushes.

    :ivar pushed: ``(key, message)`` of each push, in the order of arrival.
    :ivar statuses: what to answer for a key, 200 if not named.
    :ivar held: pushes that are not answered yet, by key; only those of keys in ``hold`` are.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[tuple[str, Any]] = []
        self.statuses: dict[str, int] = {}
        self.hold: set[str] = set()
        self.held: list[tuple[str, Request]] = []
        self.types: set[str | None] = set()
        self.answer = b'{"code": "OK"}'

    def render_PUT(self, request: Request) -> bytes | int:
        key = request.path.decode().rpartition("/")[2]
        assert request.content is not None
        self.pushed.append((key, json.loads(request.content.read())))
        self.types.add(request.getHeader("Content-Type"))
        if key in self.hold:
            self.held.append((key, request))
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        request.setResponseCode(self.statuses.get(key, 200))
        return self.answer

    def to(self, key: str) -> list[Any]:
        return [message for known, message in self.pushed if known == key]

    def release(self) -> None:
        held, self.held = self.held, []
        for _, request in held:
            request.write(self.answer)
            request.finish()


class ChatTestCase(SynchronousTestCase):
    max_pushes = 16

    def setUp(self) -> None:
        self.clock = Clock()
        self.gateway = Gateway()
        self.pushes = RequestTraversalAgent(self.gateway)
        self.traffic = Traffic(self.clock, float)
        self.api = ChatApi(
            ApiClient(self.pushes, self.clock, 5.0, 4096),
            self.traffic,
            Random(7),
            max_pushes=self.max_pushes,
        )
        self.callbacks = RequestTraversalAgent(self.api)
        self.client = ApiClient(self.callbacks, Clock(), 30, 4096, "http://127.0.0.1:5000/chat")
        self.calls = 0

    def call(self, method: str, key: str | None, body: bytes = b"", **headers: str) -> Deferred[Answer]:
        """Make a callback; keyword ``ws_state`` is the header ``Ws-State``."""
        self.calls += 1
        sent = {"ws-id": f"tag-{self.calls}"}
        if key is not None:
            sent["ws-uri"] = f"{HOST}/{key}"
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        fields = Headers({name: [value] for name, value in sent.items() if value})
        return self.client.request(method, self.client.uri, headers=fields, data=body)

    def pump(self) -> None:
        for _ in range(6):
            self.pushes.flush()
            self.callbacks.flush()

    def done(self, method: str, key: str | None, body: bytes = b"", **headers: str) -> Answer:
        """Make a callback and see it and all that follows from it done.

        :returns: the answer.
        """
        called = self.call(method, key, body, **headers)
        self.pump()
        return self.successResultOf(called)

    def join(self, *keys: str) -> None:
        for key in keys:
            self.done("POST", key, json.dumps({"ws_uri": f"{HOST}/{key}"}).encode())
        self.gateway.pushed.clear()

    def exchanges(self, direction: str) -> list[Exchange]:
        return [exchange for exchange in self.traffic.since(0) if exchange.direction == direction]


class PostTests(ChatTestCase):
    def test_everybody_is_welcome(self) -> None:
        answer = self.done("POST", "a")
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body), {"code": "OK"})
        name = self.api.members[f"{HOST}/a"]
        self.assertEqual(answer.headers.getRawHeaders(b"Ws-State", []), [name.encode()])
        welcome = {"type": "welcome", "name": name, "ws_uri": f"{HOST}/a", "members": []}
        self.assertEqual(self.gateway.pushed, [("a", welcome)])
        self.assertEqual(self.gateway.types, {"application/json"})

    def test_it_is_answered_before_the_pushes_are(self) -> None:
        self.gateway.hold.add("a")
        called = self.call("POST", "a")
        self.pump()
        self.assertEqual(self.successResultOf(called).status, 200)
        self.assertEqual(len(self.gateway.held), 1)
        self.gateway.release()
        self.pump()

    def test_others_hear_of_it(self) -> None:
        self.join("a")
        self.done("POST", "b")
        [notice] = self.gateway.to("a")
        names = self.api.members
        self.assertEqual(notice, {"type": "joined", "name": names[f"{HOST}/b"], "ws_uri": f"{HOST}/b"})
        [welcome] = self.gateway.to("b")
        self.assertEqual(welcome["members"], [{"name": names[f"{HOST}/a"], "ws_uri": f"{HOST}/a"}])

    def test_a_wanted_name(self) -> None:
        self.done("POST", "a", ws_path="/chat?name=Amber%20Otter")
        self.assertEqual(self.api.members, {f"{HOST}/a": "Amber Otter"})

    def test_a_wanted_name_that_is_taken_or_not_possible(self) -> None:
        self.done("POST", "a", ws_path="/chat?name=Ada")
        for key, wanted in (("b", "Ada"), ("c", "%0d%0aSet-Cookie:"), ("d", "x" * 25), ("e", "%C3%A9"), ("f", "")):
            self.done("POST", key, ws_path=f"/chat?name={wanted}")
        names = list(self.api.members.values())
        self.assertEqual(len(set(names)), 6)
        for name in names[1:]:
            self.assertRegex(name, r"^[A-Z][a-z]+ [A-Z][a-z]+$")

    def test_names_stay_unique_when_they_run_out(self) -> None:
        self.join(*[f"k{number}" for number in range(60)])
        self.assertEqual(len(set(self.api.members.values())), 60)

    def test_a_repeated_post_is_answered_alike_and_joins_once(self) -> None:
        first = self.done("POST", "a", ws_id="tag-0")
        again = self.done("POST", "a", ws_id="tag-0")
        for answer in (first, again):
            self.assertEqual(answer.headers.getRawHeaders(b"Ws-State", []), [self.api.members[f"{HOST}/a"].encode()])
        self.assertEqual(len(self.gateway.to("a")), 1)

    def test_without_ws_uri(self) -> None:
        for method in ("POST", "PUT", "DELETE"):
            answer = self.done(method, None)
            self.assertEqual(answer.status, 400)
            self.assertEqual(json.loads(answer.body)["code"], "BAD_REQUEST")
        self.assertEqual(self.api.members, {})

    def test_other_methods(self) -> None:
        self.assertEqual(self.done("GET", "a").status, 405)


class PutTests(ChatTestCase):
    def test_everybody_gets_the_message(self) -> None:
        self.join("a", "b", "c")
        answer = self.done("PUT", "b", "grüß <b>".encode(), content_type="text/plain; charset=utf-8")
        self.assertEqual(answer.status, 200)
        chat = {"type": "chat", "name": self.api.members[f"{HOST}/b"], "text": "grüß <b>"}
        self.assertEqual(sorted(self.gateway.pushed, key=lambda one: one[0]), [("a", chat), ("b", chat), ("c", chat)])

    def test_it_is_answered_when_all_pushes_are(self) -> None:
        self.join("a", "b")
        self.gateway.hold.add("a")
        called = self.call("PUT", "b", b"hi")
        self.pump()
        self.assertNoResult(called)
        self.gateway.release()
        self.pump()
        self.assertEqual(self.successResultOf(called).status, 200)

    def test_binary_is_described(self) -> None:
        self.join("a")
        self.done("PUT", "a", b"\x00\xff", content_type="application/octet-stream")
        self.assertEqual(self.gateway.to("a")[0]["text"], "(a binary message of 2 bytes)")

    def test_a_long_message_is_cut(self) -> None:
        self.join("a")
        self.done("PUT", "a", b"x" * (MAX_TEXT + 1))
        self.assertEqual(self.gateway.to("a")[0]["text"], "x" * MAX_TEXT)

    def test_a_client_of_before_a_restart_is_known_by_its_state(self) -> None:
        self.join("a")
        self.done("PUT", "old", b"still here", ws_state="Teal Wren")
        self.assertEqual(self.gateway.to("a")[0]["name"], "Teal Wren")
        self.assertEqual(self.api.members[f"{HOST}/old"], "Teal Wren")

    def test_a_repeated_put_is_not_sent_again(self) -> None:
        self.join("a")
        for _ in range(2):
            self.assertEqual(self.done("PUT", "a", b"once", ws_id="tag-put").status, 200)
        self.assertEqual(len(self.gateway.to("a")), 1)

    def test_only_so_many_ids_are_remembered(self) -> None:
        self.join("a")
        self.done("PUT", "a", b"first", ws_id="first")
        for _ in range(1000):
            self.call("DELETE", "nobody")
        self.pump()
        self.done("PUT", "a", b"first", ws_id="first")
        self.assertEqual(len(self.gateway.to("a")), 2)

    def test_calls_without_an_id_are_never_repeated_ones(self) -> None:
        self.join("a")
        for _ in range(2):
            self.assertEqual(self.done("PUT", "a", b"hi", ws_id="").status, 200)
        self.assertEqual(len(self.gateway.to("a")), 2)

    def test_the_gateway_gives_up_waiting(self) -> None:
        self.join("a")
        self.gateway.hold.add("a")
        called = self.call("PUT", "a", b"hi")
        self.pump()
        called.cancel()
        self.failureResultOf(called)
        self.gateway.release()
        self.pump()
        [*_, callback] = self.exchanges("callback")
        self.assertEqual(callback.status, 200)


class DeleteTests(ChatTestCase):
    def test_who_left_and_why(self) -> None:
        self.join("a", "b")
        name = self.api.members[f"{HOST}/b"]
        answer = self.done("DELETE", "b", ws_close_code="4001", ws_close_reason="gr%C3%BC%C3%9Fe", ws_closed_by="api")
        self.assertEqual(answer.status, 200)
        left = {"type": "left", "name": name, "ws_uri": f"{HOST}/b", "code": "4001", "reason": "grüße", "by": "api"}
        self.assertEqual(self.gateway.pushed, [("a", left)])
        self.assertNotIn(f"{HOST}/b", self.api.members)

    def test_unknown(self) -> None:
        self.join("a")
        self.assertEqual(self.done("DELETE", "nobody", ws_close_code="1006").status, 200)
        self.assertEqual(self.gateway.pushed, [])

    def test_forgotten_but_named_by_its_state(self) -> None:
        self.join("a")
        self.done("DELETE", "gone", ws_state="Teal Wren", ws_close_code="1001")
        self.assertEqual([message["name"] for message in self.gateway.to("a")], ["Teal Wren"])

    def test_repeated(self) -> None:
        self.join("a", "b")
        for _ in range(2):
            self.assertEqual(self.done("DELETE", "b", ws_id="tag-end", ws_state="Teal Wren").status, 200)
        self.assertEqual(len(self.gateway.to("a")), 1)


class PushTests(ChatTestCase):
    max_pushes = 2

    def test_not_found_forgets_the_member(self) -> None:
        self.join("a", "b")
        self.gateway.statuses["a"] = 404
        self.done("PUT", "b", b"one")
        self.assertEqual(list(self.api.members), [f"{HOST}/b"])
        self.done("PUT", "b", b"two")
        self.assertEqual(len(self.gateway.to("a")), 1)

    def test_other_failures_do_not(self) -> None:
        self.join("a")
        self.gateway.statuses["a"] = 503
        self.assertEqual(self.done("PUT", "a", b"one").status, 200)
        self.assertEqual(list(self.api.members), [f"{HOST}/a"])

    def test_no_more_than_so_many_at_once(self) -> None:
        self.join("a", "b", "c", "d")
        self.gateway.hold.update("abcd")
        called = self.call("PUT", "a", b"hi")
        self.pump()
        self.assertEqual(len(self.gateway.held), 2)
        self.gateway.release()
        self.pump()
        self.assertEqual(len(self.gateway.held), 2)
        self.gateway.release()
        self.pump()
        self.assertEqual(self.successResultOf(called).status, 200)

    def test_one_at_a_time_to_one_client_in_order(self) -> None:
        self.join("a", "b")
        self.gateway.hold.add("a")
        calls = [self.call("PUT", "b", text) for text in (b"1", b"2", b"3")]
        self.pump()
        self.assertEqual([message["text"] for message in self.gateway.to("a")], ["1"])
        for _ in calls:
            self.gateway.release()
            self.pump()
        self.assertEqual([message["text"] for message in self.gateway.to("a")], ["1", "2", "3"])

    def test_nothing_goes_to_a_member_who_left_meanwhile(self) -> None:
        self.join("a", "b")
        self.gateway.hold.add("a")
        calls = [self.call("PUT", "b", text) for text in (b"1", b"2")]
        self.pump()
        self.done("DELETE", "a")
        self.gateway.release()
        self.pump()
        self.assertEqual([message["text"] for message in self.gateway.to("a")], ["1"])
        for called in calls:
            self.assertEqual(self.successResultOf(called).status, 200)

    def test_timeout(self) -> None:
        self.join("a")
        self.gateway.hold.add("a")
        called = self.call("PUT", "a", b"hi")
        self.pump()
        self.clock.advance(4.9)
        self.pump()
        self.assertNoResult(called)
        self.clock.advance(0.2)
        self.pump()
        self.assertEqual(self.successResultOf(called).status, 200)
        self.assertEqual(list(self.api.members), [f"{HOST}/a"])

    def test_close_gives_up(self) -> None:
        self.join("a")
        self.gateway.hold.add("a")
        called = self.call("PUT", "a", b"hi")
        self.pump()
        self.api.close()
        self.pump()
        self.assertEqual(self.successResultOf(called).status, 200)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_endless_answer_is_not_read_to_its_end(self) -> None:
        self.gateway.answer = b"x" * 100_000
        self.gateway.statuses["b"] = 404
        self.join("a", "b")
        self.assertEqual(self.exchanges("push"), [])
        self.assertEqual(list(self.api.members), [f"{HOST}/a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_ws_uri_without_a_scheme(self) -> None:
        self.done("POST", None, ws_uri="localhost:8080/bare")
        [(key, message)] = self.gateway.pushed
        self.assertEqual((key, message["ws_uri"]), ("bare", "localhost:8080/bare"))


class RecordTests(ChatTestCase):
    def test_callbacks_are_recorded(self) -> None:
        self.done("POST", "a", b'{"ws_uri": "x"}', ws_path="/chat?room=7")
        [callback] = self.exchanges("callback")
        self.assertEqual((callback.method, callback.target, callback.status), ("POST", "/chat", 200))
        self.assertIn(("Ws-Path", "/chat?room=7"), callback.headers)
        self.assertEqual(callback.body.text, '{"ws_uri": "x"}')
        self.assertEqual(callback.answer_body.text, '{"code": "OK"}')

    def test_a_callback_is_recorded_before_it_is_answered(self) -> None:
        self.join("a")
        self.gateway.hold.add("a")
        called = self.call("PUT", "a", b"hi")
        self.pump()
        [*_, callback] = self.exchanges("callback")
        self.assertEqual((callback.method, callback.status), ("PUT", None))
        self.gateway.release()
        self.pump()
        self.assertEqual(self.successResultOf(called).status, callback.status)

    def test_pushes_that_arrive_are_left_to_who_receives_them(self) -> None:
        self.join("a")
        self.done("PUT", "a", b"hi")
        self.assertEqual(self.exchanges("push"), [])

    def test_pushes_that_do_not_arrive_are_recorded(self) -> None:
        self.join("a")
        self.gateway.hold.add("a")
        called = self.call("PUT", "a", b"hi")
        self.pump()
        self.clock.advance(6)
        self.pump()
        self.successResultOf(called)
        [push] = self.exchanges("push")
        self.assertEqual((push.method, push.target, push.status), ("PUT", f"{HOST}/a", None))
        self.assertEqual(push.error, "no complete answer in time")
        self.assertEqual(json.loads(push.body.text)["text"], "hi")
