"""The demo's chat API: called as the gateway calls it, its answers read as the gateway reads them, in memory."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from wsaas.callbacks.client import ApiClient
from wsaas.demo.chat import MAX_TEXT, ChatApi
from wsaas.demo.traffic import Exchange, Traffic
from wsaas.net.http1.messages import Answer

HOST = "http://localhost:8080"
EVERYBODY = "text groups/chat"


class ChatTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.traffic = Traffic(Clock(), float)
        self.api = ChatApi(self.traffic, Random(7))
        self.agent = RequestTraversalAgent(self.api)
        self.client = ApiClient(self.agent, Clock(), 30, 65536, "http://127.0.0.1:5000/chat")

    def call(self, method: str, key: str | None, body: bytes = b"", **headers: str) -> Answer:
        """Make a callback; keyword ``ws_path`` is the header ``Ws-Path``.

        :returns: the answer.
        """
        sent = {} if key is None else {"ws-uri": f"{HOST}/{key}"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        fields = Headers({name: [value] for name, value in sent.items()})
        called = self.client.request(method, self.client.uri, headers=fields, data=body)
        for _ in range(4):
            self.agent.flush()
        answer: Answer = self.successResultOf(called)
        return answer

    def join(self, *keys: str) -> None:
        for key in keys:
            self.call("POST", key, json.dumps({"ws_uri": f"{HOST}/{key}"}).encode())

    def name(self, key: str) -> str:
        return self.api.members[f"{HOST}/{key}"]

    def asked(self, answer: Answer, header: str) -> list[str]:
        return [value.decode() for value in answer.headers.getRawHeaders(header.encode(), [])]

    def published(self, answer: Answer) -> Any:
        """:returns: what an answer publishes to everybody"""
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.asked(answer, "Ws-Publish"), [EVERYBODY])
        return json.loads(answer.body)

    def exchanges(self) -> list[Exchange]:
        return list(self.traffic.since(0))


class PostTests(ChatTestCase):
    def test_everybody_is_welcome(self) -> None:
        answer = self.call("POST", "a")
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body), {"code": "OK"})
        self.assertEqual(self.asked(answer, "Ws-Join"), ["chat"])
        self.assertEqual(self.asked(answer, "Ws-User"), [self.name("a").replace(" ", "%20")])
        self.assertEqual(self.asked(answer, "Ws-Publish"), [])

    def test_a_wanted_name(self) -> None:
        self.call("POST", "a", ws_path="/chat?name=Amber%20Otter")
        self.assertEqual(self.name("a"), "Amber Otter")

    def test_a_wanted_name_that_is_taken_or_not_possible(self) -> None:
        self.call("POST", "a", ws_path="/chat?name=Ada")
        for key, wanted in (("b", "Ada"), ("c", "%0d%0aSet-Cookie:"), ("d", "x" * 25), ("e", "%C3%A9"), ("f", "")):
            self.call("POST", key, ws_path=f"//[/chat?name={wanted}")
        names = list(self.api.members.values())
        self.assertEqual(len(set(names)), 6)
        for name in names[1:]:
            self.assertRegex(name, r"^[A-Z][a-z]+ [A-Z][a-z]+$")

    def test_names_stay_unique_when_they_run_out(self) -> None:
        self.join(*[f"k{number}" for number in range(60)])
        self.assertEqual(len(set(self.api.members.values())), 60)

    def test_a_repeated_post_is_answered_alike(self) -> None:
        first, again = self.call("POST", "a", ws_id="tag-0"), self.call("POST", "a", ws_id="tag-0")
        self.assertEqual(self.asked(first, "Ws-User"), self.asked(again, "Ws-User"))
        self.assertEqual(len(self.api.members), 1)

    def test_without_ws_uri(self) -> None:
        for method in ("POST", "PUT", "DELETE"):
            answer = self.call(method, None)
            self.assertEqual(answer.status, 400)
            self.assertEqual(json.loads(answer.body)["code"], "BAD_REQUEST")
        self.assertEqual(self.api.members, {})

    def test_other_methods(self) -> None:
        self.assertEqual(self.call("GET", "a").status, 405)


class PutTests(ChatTestCase):
    def test_a_newcomer_says_that_it_is_here(self) -> None:
        self.join("a", "b")
        message = self.published(self.call("PUT", "b", b"", ws_path="/chat?name=x&tab=t1"))
        others = [{"name": self.name("a"), "ws_uri": f"{HOST}/a"}]
        itself = {"name": self.name("b"), "ws_uri": f"{HOST}/b", "tab": "t1"}
        self.assertEqual(message, {"type": "joined", "members": others, **itself})

    def test_only_so_many_are_named(self) -> None:
        self.join(*[f"k{number}" for number in range(60)])
        self.assertEqual(len(self.published(self.call("PUT", "k1", b""))["members"]), 50)

    def test_everybody_gets_the_message(self) -> None:
        self.join("a", "b")
        answer = self.call("PUT", "b", "grüß <b>".encode(), content_type="text/plain; charset=utf-8")
        message = {"type": "chat", "name": self.name("b"), "ws_uri": f"{HOST}/b", "text": "grüß <b>"}
        self.assertEqual(self.published(answer), message)
        self.assertEqual(self.asked(answer, "Content-Type"), ["application/json"])

    def test_binary_is_described(self) -> None:
        self.join("a")
        answer = self.call("PUT", "a", b"\x00\xff", content_type="application/octet-stream")
        self.assertEqual(self.published(answer)["text"], "(a binary message of 2 bytes)")

    def test_a_long_message_is_cut(self) -> None:
        self.join("a")
        self.assertEqual(self.published(self.call("PUT", "a", b"x" * (MAX_TEXT + 1)))["text"], "x" * MAX_TEXT)

    def test_a_client_of_before_a_restart_is_known_by_its_user(self) -> None:
        self.assertEqual(self.published(self.call("PUT", "old", b"hi", ws_user="Teal%20Wren"))["name"], "Teal Wren")


class DeleteTests(ChatTestCase):
    def test_who_left_and_why(self) -> None:
        self.join("a", "b")
        name = self.name("b")
        answer = self.call("DELETE", "b", ws_close_code="4001", ws_close_reason="gr%C3%BC%C3%9Fe", ws_closed_by="api")
        left = {"type": "left", "name": name, "ws_uri": f"{HOST}/b", "code": "4001", "reason": "grüße", "by": "api"}
        self.assertEqual(self.published(answer), left)
        self.assertEqual(list(self.api.members), [f"{HOST}/a"])

    def test_unknown(self) -> None:
        answer = self.call("DELETE", "nobody", ws_close_code="1006")
        self.assertEqual((answer.status, self.asked(answer, "Ws-Publish")), (200, []))

    def test_of_before_a_restart(self) -> None:
        answer = self.call("DELETE", "gone", ws_user="Teal%20Wren", ws_close_code="1001")
        self.assertEqual(self.published(answer)["name"], "Teal Wren")


class RecordTests(ChatTestCase):
    def test_callbacks_are_recorded(self) -> None:
        self.call("POST", "a", b'{"ws_uri": "x"}', ws_path="/chat?room=7")
        [callback] = self.exchanges()
        self.assertEqual((callback.method, callback.target, callback.status), ("POST", "/chat", 200))
        self.assertIn(("Ws-Path", "/chat?room=7"), callback.headers)
        self.assertIn(("Ws-Join", "chat"), callback.answer_headers)
        self.assertEqual(callback.body.text, '{"ws_uri": "x"}')
        self.assertEqual(callback.answer_body.text, '{"code": "OK"}')
