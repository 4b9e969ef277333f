"""``python -m bench.faults``: what it judges by, and each of its scenarios in short."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from twisted.trial.unittest import SynchronousTestCase

from bench.faults.answers import Call, check_script, positive
from bench.faults.balance import compare
from bench.faults.clients import LOST, Client, connect, frame, numbered
from bench.faults.groups import Answer, Members, counts_that_differ
from bench.faults.ledger import Account, Ledger, broken_rules
from bench.faults.outcome import Outcome, percentile
from bench.faults.plan import QUICK
from bench.faults.plot import write_plots
from bench.faults.proxy import WELL, Fault, Proxy, Then
from bench.faults.report import describe
from bench.faults.run import run_all
from bench.faults.scenarios import all_scenarios
from bench.faults.scenarios.soak import growth
from bench.page import BEGIN, END
from tests.processes import ROOT, start

URI, PATH = "http://gate/key", "/sender/1"
AT_ONCE = min(12, 4 * len(os.sched_getaffinity(0)))  #: scenarios at a time; most of what they do is wait


class LedgerTests(SynchronousTestCase):
    """What the ledger notes, call by call."""

    def setUp(self) -> None:
        """A connection that was asked for."""
        self.ledger = Ledger()
        self.account = self.ledger.post(URI, "0", PATH)

    def put(self, *numbers: int, body: bytes | None = None) -> None:
        """Messages come, and are taken."""
        for number in numbers:
            self.ledger.put(URI, str(number), PATH, numbered(number) if body is None else body)
            self.ledger.settle(self.account, str(number))

    def delete(self, by: str = "client", code: int = 1000, undelivered: int = 0) -> None:
        """The DELETE comes."""
        end = {"ws-close-code": str(code), "ws-closed-by": by, "ws-undelivered": str(undelivered)}
        self.ledger.delete(URI, "end", PATH, end)

    def broken(self, **options: bool) -> str:
        """What does not balance."""
        return "\n".join(broken_rules(self.ledger.accounts.values(), **options))

    def test_balance(self) -> None:
        """A POST, messages in order, a DELETE."""
        self.ledger.grant(self.account)
        self.put(1, 2, 3)
        self.delete()
        self.assertEqual(self.broken(), "")
        counts = self.ledger.counts()
        self.assertEqual((counts.granted, counts.messages, counts.disconnects, counts.owed), (1, 3, 1, 0))

    def test_repeats(self) -> None:
        """The same call again is no fault, but counted."""
        self.ledger.post(URI, "0", PATH)
        self.ledger.grant(self.account)
        self.put(1, 1, 2, 1)
        self.delete()
        self.delete()
        self.assertEqual(self.broken(), "")
        self.assertEqual(self.ledger.counts().repeats, 4)

    def test_no_disconnect(self) -> None:
        """Whatever the POST was answered with, unless it was refused."""
        self.assertIn("no DELETE", self.broken())
        self.assertEqual(self.ledger.counts().owed, 1)

    def test_refused(self) -> None:
        """Then none is owed, and none may come; unless the refusal may have been lost."""
        self.ledger.refuse(self.account)
        self.assertEqual((self.broken(), self.ledger.counts().owed), ("", 0))
        self.delete()
        self.assertIn("a DELETE although", self.broken())
        self.assertEqual(self.broken(refusals_known=False), "")

    def test_gap(self) -> None:
        """A message that was left out, and one that comes too late."""
        self.put(1, 3)
        self.assertIn("message 3 where 2 is due", self.broken())

    def test_wrong_body(self) -> None:
        """A message under the number of another."""
        self.put(1, body=numbered(2))
        self.assertIn("under number 1", self.broken())

    def test_message_after_the_disconnect(self) -> None:
        """Nothing new may follow the DELETE; what came before may come again."""
        self.put(1)
        self.delete()
        self.put(1)
        self.assertEqual(self.broken(), "")
        self.put(2)
        self.assertIn("message 2 after the DELETE", self.broken())

    def test_another_disconnect(self) -> None:
        """It says the same each time, but for that of a gateway that crashed."""
        self.delete()
        self.delete(by="crash", code=1006)
        self.assertEqual(self.broken(), "")
        self.delete(by="shutdown", code=1001)
        self.assertIn("a DELETE with 1001 shutdown after one with 1000 client", self.broken())

    def test_undelivered(self) -> None:
        """What came and was not settled is said to be undelivered; an answer that was no use leaves it open."""
        self.put(1)
        self.ledger.put(URI, "2", PATH, numbered(2))
        self.delete(by="unreachable", code=1013)
        self.assertIn("2 messages came, 1 were settled and 0", self.broken())
        self.ledger.confuse(self.account, "2")
        self.assertEqual(self.broken(), "")

    def test_several_answers_of_no_use(self) -> None:
        """All that waits behind a client that has left is sent, whatever the answers; without one it is not."""
        for number in (1, 2, 3):
            self.ledger.put(URI, str(number), PATH, numbered(number))
            self.ledger.confuse(self.account, str(number))
        self.delete()
        self.assertEqual(self.broken(), "")
        self.ledger.put(URI, "4", PATH, numbered(4))
        self.assertIn("4 messages came, 0 were settled and 0", self.broken())

    def test_user_and_groups(self) -> None:
        """What the DELETE says of them is kept, that of the first one."""
        end = {"ws-close-code": "1001", "ws-closed-by": "shutdown", "ws-user": "alice", "ws-groups": "a, b"}
        self.ledger.delete(URI, "end", PATH, end)
        self.delete(by="crash", code=1006)
        self.assertEqual((self.account.user, self.account.groups), ("alice", "a, b"))

    def test_forget(self) -> None:
        """Nothing is left."""
        self.ledger.forget()
        self.assertEqual(self.ledger.counts().calls, 0)
        self.assertEqual(self.ledger.accounts, {})


class BalanceTests(SynchronousTestCase):
    """The ledger against what clients know."""

    def compare(
        self, sent: int, code: int, account: Account, *, ours: bool = False, may_end: Iterable[int] = ()
    ) -> list[str]:
        """Compare one client with its account."""

        async def make() -> Client:
            client = Client(PATH)
            client.sent, client.code, client.closed_by_us = sent, code, ours
            return client

        return compare([account], [asyncio.run(make())], may_end=list(may_end))

    def account(self, seen: int, by: str = "client", code: int = 1000, undelivered: int = 0) -> Account:
        """An account that balances by itself."""
        return Account(
            URI, PATH, 1, True, seen=seen, settled=seen, disconnects=1, code=code, by=by, undelivered=undelivered
        )

    def test_all_came(self) -> None:
        """A client that closed in order has everything at the API, or is told of what is not."""
        self.assertEqual(self.compare(3, 1000, self.account(3), ours=True), [])
        self.assertEqual(self.compare(3, 1000, self.account(2, undelivered=1), ours=True), [])
        (problem,) = self.compare(3, 1000, self.account(2), ours=True)
        self.assertIn("sent 3, but 2 came", problem)

    def test_dropped(self) -> None:
        """A client that was gone cannot know."""
        self.assertEqual(self.compare(3, LOST, self.account(1, code=1006), ours=True), [])

    def test_closed_by_the_gateway(self) -> None:
        """With a code that says so, and no other."""
        account = self.account(2, "unreachable", 1013, 1)
        self.assertEqual(self.compare(3, 1013, account, may_end=(1013,)), [])
        self.assertIn("ended with 1013 by 'unreachable'", self.compare(3, 1013, account)[0])
        self.assertIn("the API was told 1013", self.compare(3, 1011, account, may_end=(1011,))[0])

    def test_out_of_thin_air(self) -> None:
        """More than was sent."""
        self.assertIn("sent 1, but 2 came", self.compare(1, 1000, self.account(2), ours=True)[0])

    def test_unknown(self) -> None:
        """An accepted client that the API does not know."""
        self.assertIn("0 accounts", compare([], [asyncio.run(self.client())])[0])

    async def client(self) -> Client:
        """A client."""
        return Client(PATH)


class MembersTests(SynchronousTestCase):
    """What members of a group must have seen."""

    def test_gaps(self) -> None:
        """Each message once and in order; whoever lacks one, or has one twice, is named."""

        async def see() -> Members:
            members = Members([Client("/group/chat/alice"), Client("/group/chat/bob")])
            for client, numbers in zip(members.clients, ((1, 2, 3), (1, 3, 3)), strict=True):
                assert client.on_message is not None
                for number in numbers:
                    client.on_message(numbered(number, 20))
            self.assertTrue(await members.have(3, 1))
            self.assertFalse(await members.have(4, 0.01))
            return members

        members = asyncio.run(see())
        self.assertEqual(
            members.problems,
            ["/group/chat/bob: message 3 where 2 is due", "/group/chat/bob: message 3 where 4 is due"],
        )

    def test_counts(self) -> None:
        """Counts of an answer have to add up, where there are any."""
        counts = {"members": 3, "sent": 1, "held": 1, "skipped": 0, "closed": 1, "except": 0}
        answers = [Answer(200, counts), Answer(503, {}), Answer(200, counts | {"members": 4})]
        self.assertEqual(counts_that_differ(answers), [f"counts do not add up: {answers[2].values}"])


class ProxyTests(SynchronousTestCase):
    """What the proxy does to bytes."""

    def talk(self, fault: Fault, test: Callable[[Any, Any, Proxy], Coroutine[Any, Any, None]]) -> None:
        """Connect through a proxy to a server that echoes."""

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(1000):
                    writer.write(data)
            except OSError:
                pass  # a reset, as asked for
            writer.close()

        async def run() -> None:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
                proxy.set(fault)
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                await asyncio.wait_for(test(reader, writer, proxy), 10)
                writer.close()

        asyncio.run(run())

    def test_whole(self) -> None:
        """Slow or in slices, everything arrives."""

        async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Proxy) -> None:
            writer.write(b"hello" * 20)
            self.assertEqual(await reader.readexactly(100), b"hello" * 20)

        for fault in (WELL, Fault(latency=0.01), Fault(slices=True), Fault(bandwidth=5000)):
            self.talk(fault, test)

    def test_cut(self) -> None:
        """So many bytes and no more; then an end, a reset, or nothing."""

        async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy) -> None:
            writer.write(b"x" * 100)
            if proxy.fault.then is Then.SILENCE:
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.05)
            elif proxy.fault.then is Then.RESET:
                with self.assertRaises(ConnectionResetError):
                    await reader.read(1)
            else:
                self.assertEqual(await reader.read(), b"")
            self.assertEqual(proxy.ended, 1)

        for then in Then:
            self.talk(Fault(share=(10, 10), then=then), test)

    def test_hole(self) -> None:
        """What is sent meanwhile arrives when it is over."""

        async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy) -> None:
            writer.write(b"hello")
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)
            proxy.set(WELL)
            self.assertEqual(await reader.readexactly(5), b"hello")

        self.talk(Fault(hole=True), test)


class ClientTests(SynchronousTestCase):
    """The client against a server by hand."""

    def test_talk(self) -> None:
        """It shakes hands, answers a ping and a Close, and knows with which code it ended."""
        heard = bytearray()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 -\r\n\r\n\x89\x01p\x81\x02hi")
            writer.write(b"\x88\x02\x03\xf5")
            heard.extend(await reader.read(1000))
            while data := await reader.read(1000):
                heard.extend(data)
            writer.close()

        async def run() -> Client:
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                client = await connect(server.sockets[0].getsockname()[1], PATH)
                await asyncio.sleep(0.01)
                client.transport.write_eof()
                self.assertEqual(await client.ended(5), 1013)
                return client

        client = asyncio.run(run())
        self.assertEqual(client.received, 1)
        self.assertFalse(client.is_open)
        self.assertEqual(bytes(heard), frame(10, b"p") + frame(8, b"\x03\xf5"))


class ReportTests(SynchronousTestCase):
    """What is shown."""

    def test_table(self) -> None:
        """Each scenario with its verdict, figures and problems."""
        outcomes = {
            "kill": Outcome({"kills": 20.0}),
            "soak": Outcome(problems=["it grows"]),
            "conformance": Outcome(skipped="kosoku is not installed"),
        }
        shown = describe(outcomes, {"kill": 12.0})
        self.assertIn("1 held, 1 BROKEN, 1 skipped\n", shown)
        self.assertIn("kill: held, 12 s\n", shown)
        self.assertIn("soak: BROKEN\n", shown)
        self.assertIn("  kills: 20\n", shown)
        self.assertIn("  BROKEN: it grows\n", shown)
        self.assertIn("  skipped: kosoku is not installed", shown)

    def test_plot(self) -> None:
        """A well-formed SVG with a line for each series."""
        outcome = Outcome(series={"process, MiB": [40.0, 41.0], "threads": [1.0, 1.0]}, at=[0.0, 1.0])
        (file,) = write_plots({"soak": outcome, "kill": Outcome()}, Path(self.mktemp()))
        svg = ET.fromstring(file.read_text("utf-8"))
        self.assertLessEqual({"process, MiB", "threads"}, set(svg.itertext()))
        self.assertEqual(len([one for one in svg.iter() if one.tag.endswith("polyline")]), 2)

    def test_growth(self) -> None:
        """From the second fifth to the last one; the first is warming up."""
        self.assertEqual(growth([0, 0, 10, 10, 10, 10, 10, 12, 13, 13]), 2.5)
        self.assertEqual(growth([1, 2]), 0)

    def test_percentile(self) -> None:
        """What so many do not exceed."""
        self.assertEqual(percentile(range(1, 101), 0.99), 100)
        self.assertEqual(percentile([], 0.99), 0)

    def test_json(self) -> None:
        """An outcome comes back from a file as it was."""
        outcome = Outcome({"a": 1.0}, ["b"], {"c": [1.0]}, [2.0], "d")
        self.assertEqual(Outcome.from_json(json.loads(json.dumps(outcome.as_json()))), outcome)

    def test_group_by_path(self) -> None:
        """The API lets those join whose path says so, as the user whom it names; others it only accepts."""
        answer = positive(Call("POST", False, b"", False, "/group/chat/alice")).decode()
        self.assertIn("\r\nWs-User: alice\r\nWs-Join: chat\r\n\r\n", answer)
        self.assertNotIn("Ws-", positive(Call("POST", False, b"", False, PATH)).decode())

    def test_script(self) -> None:
        """A script that cannot be followed is refused."""
        check_script({"POST": "ok", "PUT": "retry:2", "DELETE": "hang"})
        for script in ({"GET": "ok"}, {"PUT": "status"}, {"PUT": "status:x"}, {"PUT": "ok:1"}):
            self.assertRaises(ValueError, check_script, script)

    def test_the_page_has_a_place(self) -> None:
        """The documentation has the place that the command writes to."""
        page = (ROOT / "docs" / "reliability.rst").read_text("utf-8")
        self.assertLess(page.index(BEGIN), page.index(END))

    def test_list(self) -> None:
        """The command names every scenario; of an unknown one it says so."""
        program = start(self, [sys.executable, "-m", "bench.faults", "--list"], cwd=ROOT)
        self.assertEqual(program.wait(), 0)
        self.assertEqual(program.output.split(), list(all_scenarios()))
        program = start(self, [sys.executable, "-m", "bench.faults", "--scenario", "flood"], cwd=ROOT)
        self.assertEqual(program.wait(), 1)
        self.assertIn("there is no scenario flood", program.output)


class ShortFormTests(SynchronousTestCase):
    """Each scenario, with few clients and short times: the promises hold. Conformance has a module of its own."""

    timeout = 300

    def check(self, *beginnings: str) -> None:
        """Run all scenarios whose names begin so."""
        names = [name for name in all_scenarios() if name.startswith(beginnings)]
        self.assertTrue(names)
        self.check_all(*names)

    def check_all(self, *names: str) -> None:
        """Run scenarios."""
        outcomes, _ = asyncio.run(run_all(list(names), QUICK, AT_ONCE))
        broken = {name: outcome.problems for name, outcome in outcomes.items() if outcome.problems}
        if broken:
            self.fail(describe({name: outcomes[name] for name in broken}, {}))

    def test_kill(self) -> None:
        """Every connection of a gateway that was killed has its DELETE."""
        self.check("kill")

    def test_drain(self) -> None:
        """So has every connection of one that was told to stop."""
        self.check("drain")

    def test_api(self) -> None:
        """An API that is down, or answers as none should; for too long in one way only, since all end alike."""
        brief = [name for name in all_scenarios() if name.startswith("api-") and not name.endswith("-too-long")]
        self.check_all(*brief, "api-down-too-long")

    def test_network(self) -> None:
        """A bad network on either leg."""
        self.check("network-")

    def test_memory(self) -> None:
        """Attackers take no more than they may."""
        self.check("memory-")

    def test_fairness(self) -> None:
        """Honest clients are served beside attackers."""
        self.check("fair-")

    def test_groups(self) -> None:
        """Members that never read, more joins and publishes than may be, and an end while something is published."""
        self.check("groups-")

    def test_soak(self) -> None:
        """Messages and visits side by side."""
        self.check("soak")
