"""What is tried again, on real sockets (protocol §2.1 to §2.3)."""

from __future__ import annotations

from twisted.internet.task import deferLater

from bench.ports import free_port
from tests.contract.case import ContractTestCase
from tests.recording_api import Answer, Call
from tests.waiting import reactor
from tests.wire import PING, PONG, TEXT, Frame, Wire, frame, handshake


class RetryTestCase(ContractTestCase):
    """An API that fails in one way or another."""

    def fail_first(self, method: str, *failures: Answer | str) -> list[Call]:
        """Have the first calls of a method fail, and those after them succeed.

        :param failures: how each fails: an answer, or ``cut``, ``half`` an answer, ``silent``
        :returns: the calls, as they come
        """
        calls: list[Call] = []

        def answer(call: Call) -> None:
            calls.append(call)
            failure: Answer | str = failures[len(calls) - 1] if len(calls) <= len(failures) else Answer()
            if isinstance(failure, Answer):
                call.answer(failure.status, failure.body, failure.headers)
            elif failure == "cut":
                call.hang_up()
            elif failure == "half":
                call.write(b"HTTP/1.1 200 OK\r\nWs-Close: 4000\r\nContent-Length: 5\r\n\r\nab")
                call.hang_up()

        self.api.script[method] = answer
        return calls

    async def until_calls(self, calls: list[Call], count: int) -> None:
        """Wait until there were so many."""
        await self.api.until(lambda: len(calls) >= count, f"{count} calls; there were {len(calls)}")

    def methods(self, ws_uri: str) -> list[str]:
        """:returns: the methods of a connection's calls"""
        return [call.method for call in self.api.of(ws_uri)]

    async def pause(self, seconds: float) -> None:
        """Let time pass: what must not happen has no other sign."""
        await deferLater(reactor, seconds)


class PutTests(RetryTestCase):
    """§2.3: a PUT that is not taken now."""

    async def check(self, *failures: Answer | str, **settings: str) -> list[Call]:
        """The first attempts fail, the next is taken; the message behind it follows; the connection stays."""
        await self.serve(**settings)
        client = await self.connect()
        calls = self.fail_first("PUT", *failures)
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await self.until_calls(calls, len(failures) + 2)
        self.assertEqual([call.body for call in calls], [b"1"] * (len(failures) + 1) + [b"2"])
        ids = [(call.header("Ws-Id") or "").rpartition("-")[2] for call in calls]
        self.assertEqual(ids, ["1"] * (len(failures) + 1) + ["2"])
        client.send(frame(PING, b"?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))
        return calls

    async def test_statuses(self) -> None:
        """408 425 429 502 503 504."""
        await self.check(Answer(503), Answer(504), Answer(502))

    async def test_more_statuses(self) -> None:
        """Their headers ask for nothing: §2.4 speaks of 2xx."""
        headers = [("Ws-Close", "4000"), ("Ws-Reply", "text"), ("Ws-State", "x")]
        calls = await self.check(Answer(408, headers=headers), Answer(425), Answer(429))
        self.assertIsNone(calls[-1].header("Ws-State"))

    async def test_cut(self) -> None:
        """No answer; on a kept connection it is repeated at once as well."""
        await self.check("cut", "cut", "cut")

    async def test_incomplete(self) -> None:
        """Only a part of an answer, which counts for nothing."""
        await self.check("half", "half")

    async def test_timed_out(self) -> None:
        """No answer within API_TIMEOUT."""
        await self.check("silent", API_TIMEOUT="200")

    async def test_no_connection(self) -> None:
        """Until there is one again."""
        await self.serve()
        client = await self.connect()
        port = self.api.port
        await self.api.stop_listening()
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await self.until_logged("tried again")
        self.api.listen(port=port)
        for body in (b"1", b"2"):
            self.assertEqual((await self.api.call("PUT")).body, body)

    async def test_other_statuses(self) -> None:
        """API_RETRY_STATUS names them: a 500 is repeated, a 503 is then a refusal."""
        calls = await self.check(Answer(500), Answer(500), API_RETRY_STATUS="500")
        self.assertEqual(len(calls), 4)
        client = await self.connect()
        calls = self.fail_first("PUT", Answer(503))
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await self.until_calls(calls, 2)
        self.assertEqual([call.body for call in calls], [b"1", b"2"])

    async def test_retry_after(self) -> None:
        """Not before the API asks for it."""
        await self.serve()
        client = await self.connect()
        began = reactor.seconds()
        calls = self.fail_first("PUT", Answer(503, headers=[("Retry-After", "1")]))
        client.send_text("x")
        await self.until_calls(calls, 2)
        self.assertGreaterEqual(reactor.seconds() - began, 1)

    async def test_until_the_end(self) -> None:
        """Tried for API_RETRY_FOR, then closed with 1013; what is behind it counts too; the DELETE follows."""
        await self.serve(API_RETRY_FOR="400")
        client, ws_uri = await self.connected()
        self.api.script["PUT"] = Answer(503)
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        self.assertEqual((await client.closed()).code, 1013)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1013", "unreachable"))
        self.assertEqual(delete.header("Ws-Undelivered"), "2")
        methods = self.methods(ws_uri)
        self.assertEqual((methods[0], methods[-1], set(methods[1:-1])), ("POST", "DELETE", {"PUT"}))
        self.assertGreaterEqual(methods.count("PUT"), 2)
        self.assertEqual({call.body for call in self.api.of(ws_uri) if call.method == "PUT"}, {b"1"})

    async def test_the_client_is_not_read_meanwhile(self) -> None:
        """Not even its pings; nor does it count as silent."""
        await self.serve(WS_TIMEOUT="400")
        client, _ = await self.connected()
        self.api.script["PUT"] = Answer(503)
        client.send_text("1")
        await self.until_logged("tried again")
        client.send(frame(PING, b"?"))
        await self.pause(1.0)
        self.assertEqual((client.received, client.ended), (b"", False))
        self.api.script["PUT"] = Answer()
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))

    async def test_no_slot_is_held_meanwhile(self) -> None:
        """Others go on, with a single slot even."""
        await self.serve(API_MAX_REQUESTS="1")
        self.api.script["PUT"] = lambda call: call.answer(503 if call.body == b"wait" else 200)
        client, _ = await self.connected()
        client.send_text("wait")
        await self.until_logged("tried again")
        self.assertEqual((await self.life()).delete.header("Ws-Undelivered"), None)

    async def test_the_client_closed(self) -> None:
        """What it sent before is still delivered, retries included, then comes the DELETE."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.api.script["PUT"] = None
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        put = await self.api.call("PUT")
        client.send_close(1000)
        await client.closed()
        await client.end()
        calls = self.fail_first("PUT", Answer(503), Answer(503), Answer(), Answer(503))
        put.answer(503)
        await self.api.call("DELETE", ws_uri)
        self.assertEqual([call.body for call in calls], [b"1", b"1", b"1", b"2", b"2"])
        self.assertEqual(self.methods(ws_uri), ["POST", *["PUT"] * 6, "DELETE"])

    async def waiting(self) -> tuple[Wire, str]:
        """:returns: a client one of whose messages waits for its next attempt, and one behind it"""
        await self.serve()
        client, ws_uri = await self.connected()
        self.api.script["PUT"] = Answer(503, headers=[("Retry-After", "30")])
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await self.until_logged("tried again")
        return client, ws_uri

    async def test_the_api_closed(self) -> None:
        """What waits for its next attempt is given up at once, and counted."""
        client, ws_uri = await self.waiting()
        await self.push("DELETE", ws_uri, query="?code=4001")
        self.assertEqual((await client.closed()).code, 4001)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Closed-By"), delete.header("Ws-Undelivered")), ("api", "2"))
        self.assertEqual(self.methods(ws_uri), ["POST", "PUT", "DELETE"])

    async def test_shutdown(self) -> None:
        """The same."""
        client, ws_uri = await self.waiting()
        assert self.gateway is not None
        stopping = self.gateway.stopService()
        self.assertEqual((await client.closed()).code, 1001)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Closed-By"), delete.header("Ws-Undelivered")), ("shutdown", "2"))
        await stopping
        self.assertEqual(self.methods(ws_uri), ["POST", "PUT", "DELETE"])

    async def test_not_repeated_after_the_api_closed(self) -> None:
        """The PUT in flight gets its answer but no other attempt."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.api.script["PUT"] = None
        client.send_text("1")
        put = await self.api.call("PUT")
        await self.push("DELETE", ws_uri)
        await client.closed()
        put.answer(503)
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Undelivered"), "1")
        self.assertEqual(self.methods(ws_uri), ["POST", "PUT", "DELETE"])

    async def test_not_repeated_after_a_protocol_error(self) -> None:
        """The same."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.api.script["PUT"] = None
        client.send_text("1")
        put = await self.api.call("PUT")
        client.send(frame(3))
        await self.until_gone(ws_uri)
        put.answer(503)
        self.assertEqual((await client.closed()).code, 1002)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Closed-By"), delete.header("Ws-Undelivered")), ("protocol", "1"))
        self.assertEqual(self.methods(ws_uri), ["POST", "PUT", "DELETE"])

    async def test_many(self) -> None:
        """Whatever the API does meanwhile: each client's messages arrive in order, and none is lost."""
        await self.serve(API_TIMEOUT="300")
        clients = [await self.connected() for _ in range(10)]
        taken: dict[str, list[bytes]] = {ws_uri: [] for _, ws_uri in clients}
        ways = ("ok", "503", "ok", "cut", "half")
        count = 0

        def answer(call: Call) -> None:
            nonlocal count
            count += 1
            way = ways[count % 5] if count < 60 else "ok"
            if way == "cut":
                call.hang_up()
            elif way == "half":
                call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
                call.hang_up()
            else:
                if way == "ok":
                    taken[call.ws_uri].append(call.body)
                call.answer(200 if way == "ok" else 503)

        self.api.script["PUT"] = answer
        bodies = [b"%d" % number for number in range(6)]
        for client, _ in clients:
            client.send(b"".join(frame(TEXT, body) for body in bodies))
        await self.api.until(lambda: all(len(got) == 6 for got in taken.values()), f"all messages: {taken}")
        self.assertEqual(list(taken.values()), [bodies] * 10)


class DeleteTests(RetryTestCase):
    """§2.3: a DELETE that is not taken now."""

    async def check(self, *failures: Answer | str, **settings: str) -> list[Call]:
        """The first attempts fail, the next one is taken."""
        await self.serve(**settings)
        client, ws_uri = await self.connected("/path")
        calls = self.fail_first("DELETE", *failures)
        client.send_close(4001, "bye")
        await self.until_calls(calls, len(failures) + 1)
        said = ("Ws-Id", "Ws-Uri", "Ws-Path", "Ws-Close-Code", "Ws-Close-Reason", "Ws-Closed-By")
        for call in calls:
            self.assertEqual([call.header(name) for name in said], [calls[0].header(name) for name in said])
        await self.stop_gateway()
        self.assertEqual(len(calls), len(failures) + 1)
        self.assertNotIn("ERROR ", self.logged())
        self.assertEqual(ws_uri, calls[0].ws_uri)
        return calls

    async def test_5xx(self) -> None:
        """Any of them but 501."""
        await self.check(Answer(500), Answer(503))

    async def test_not_now(self) -> None:
        """408, 425, 429."""
        await self.check(Answer(429))
        await self.check(Answer(408))
        await self.check(Answer(425))

    async def test_no_answer(self) -> None:
        """None, or half of one; on a kept connection it is repeated at once as well."""
        await self.check("cut", "cut", "half")

    async def test_timed_out(self) -> None:
        """None in time."""
        await self.check("silent", API_TIMEOUT="150")

    async def test_refused(self) -> None:
        """Other 3xx and 4xx: tried again too."""
        await self.check(Answer(404))
        await self.check(Answer(302))

    async def test_refused_for_too_long(self) -> None:
        """But for API_RETRY_FOR only: then an error in the log."""
        await self.serve(API_RETRY_FOR="700")
        client, _ = await self.connected()
        self.api.script["DELETE"] = Answer(404)
        client.send_close()
        delete = await self.api.call("DELETE")
        await self.until_logged(rf"ERROR \S+ {(delete.header('Ws-Id') or '')[:22]} .*\b404\b")
        self.assertGreaterEqual(len(self.methods(delete.ws_uri)), 3)

    async def test_given_up(self) -> None:
        """After API_DELETE_FOR: an error in the log."""
        await self.serve(API_DELETE_FOR="700")
        client, _ = await self.connected()
        self.api.script["DELETE"] = Answer(503)
        client.send_close()
        delete = await self.api.call("DELETE")
        await self.until_logged(rf"ERROR \S+ {(delete.header('Ws-Id') or '')[:22]} .*\b503\b")
        self.assertGreaterEqual(len(self.methods(delete.ws_uri)), 3)

    async def test_no_connection(self) -> None:
        """Until there is one again; all are said."""
        await self.serve()
        clients = [await self.connected() for _ in range(20)]
        port = self.api.port
        await self.api.stop_listening()
        for client, _ in clients:
            client.drop()
        await self.until_logged("does not take a DELETE")
        self.api.listen(port=port)
        for _, ws_uri in clients:
            await self.api.call("DELETE", ws_uri)
        await self.until_logged("no DELETE is pending")

    async def test_shutdown(self) -> None:
        """What is put off for minutes is tried before the end."""
        gateway = await self.serve()
        client, _ = await self.connected()
        self.api.script["DELETE"] = Answer(503, headers=[("Retry-After", "300")])
        client.drop()
        await self.api.call("DELETE")
        await self.until_logged("does not take a DELETE")
        await self.pause(0)
        self.api.script["DELETE"] = Answer()
        await gateway.stopService()
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE", "DELETE"])
        self.assertNotIn("ERROR ", self.logged())

    async def test_shutdown_of_an_api_that_takes_none(self) -> None:
        """What is left is an error in the log, with its count."""
        gateway = await self.serve(DRAIN_TIMEOUT="300")
        clients = [await self.connected() for _ in range(3)]
        self.api.script["DELETE"] = Answer(503)
        for client, _ in clients:
            client.drop()
        await self.until_logged("does not take a DELETE")
        await gateway.stopService()
        self.assertRegex(self.logged(), r"ERROR \S+ 3 connections are left")


class DownTests(RetryTestCase):
    """§2.2: new clients while the API is known to be down."""

    async def test_refused_at_once(self) -> None:
        """503 with ``Retry-After``, and not even tried; once it answers again, all are let in."""
        await self.serve(API_URI=f"127.0.0.1:{(port := free_port())}/hook")
        await self.api.stop_listening()
        while "known to be down" not in self.logged():
            reply = await self.shake(handshake())
            self.assertEqual(reply.status, 503)
            self.assertRegex(reply.header("Retry-After") or "", r"^[1-9][0-9]*$")
            await self.pause(0.1)
        self.api.listen(port=port)
        deadline = reactor.seconds() + 10
        while (await self.shake(handshake())).status != 101:
            self.assertLess(reactor.seconds(), deadline)
            await self.pause(0.05)
        for _ in range(3):
            self.assertEqual((await self.shake(handshake())).status, 101)

    async def test_bad_answers_are_answers(self) -> None:
        """They open nothing, however many there are."""
        await self.serve()
        self.api.script["POST"] = Answer(503)
        began = reactor.seconds()
        while reactor.seconds() < began + 1.3:
            self.assertEqual((await self.shake(handshake())).status, 502)
        self.api.script["POST"] = Answer()
        self.assertEqual((await self.shake(handshake())).status, 101)
