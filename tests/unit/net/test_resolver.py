"""Names to addresses: one look-up for all who want to know the same, in threads that nobody waits for."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

import wsaas
from tests.processes import PATIENCE, environment
from wsaas.net.resolver import Resolver

reactor: Any = real_reactor

TCP = (socket.SOCK_STREAM, 6, "")
FOUND = [
    (socket.AF_INET6, *TCP, ("::1", 80, 0, 0)),
    (socket.AF_INET, *TCP, ("127.0.0.1", 80)),
]
ADDRESSES = [IPv6Address("TCP", "::1", 80), IPv4Address("TCP", "127.0.0.1", 80)]


@implementer(IResolutionReceiver)
class Receiver:
    """Waits for addresses.

    :param fails: raises what it is called in the end
    """

    def __init__(self, fails: bool = False) -> None:
        self.began: IHostResolution | None = None
        self.addresses: list[IAddress] = []
        self.done: Deferred[list[IAddress]] = Deferred()
        self._fails = fails

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Keep it."""
        self.began = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """Collect it."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """Tell."""
        if self._fails:
            raise ZeroDivisionError
        self.done.callback(self.addresses)


class NameServer:
    """A ``getaddrinfo`` that answers when it is told to."""

    def __init__(self, answer: Callable[[], Sequence[Any]] = lambda: FOUND) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.threads: set[threading.Thread] = set()
        self.answer = answer
        self.answers = threading.Event()

    def __call__(self, *question: object) -> Sequence[Any]:
        """Be asked."""
        self.asked.append(question)
        self.threads.add(threading.current_thread())
        assert self.answers.wait(PATIENCE)
        return self.answer()


class ResolverTests(TestCase):
    """In threads of this process."""

    def setUp(self) -> None:
        self.names = NameServer()
        # Else threads that wait for an answer would outlive a test that fails.
        self.addCleanup(self.names.answers.set)
        self.resolver = Resolver(reactor, self.names)
        verifyObject(IHostnameResolver, self.resolver)

    def ask(self, name: str = "api", port: int = 80, **more: Any) -> Receiver:
        """Ask as HostnameEndpoint does."""
        receiver = Receiver()
        resolution = self.resolver.resolveHostName(receiver, name, portNumber=port, **more)
        self.assertIs(receiver.began, resolution)
        self.assertEqual(resolution.name, name)
        return receiver

    async def test_equal_questions_are_one(self) -> None:
        """All who ask while it is under way get its answer, in the order of ``getaddrinfo``; the next asks anew."""
        receivers = [self.ask() for _ in range(60)]
        self.names.answers.set()
        answers = await gatherResults([receiver.done for receiver in receivers])
        self.assertEqual(answers, [ADDRESSES] * 60)
        question = ("api", 80, socket.AF_UNSPEC, socket.SOCK_STREAM)
        self.assertEqual(self.names.asked, [question])
        await self.ask().done
        self.assertEqual(self.names.asked, [question] * 2)

    async def test_different_questions_are_not(self) -> None:
        """Another name, another port, other families, other semantics."""
        self.names.answers.set()
        receivers = [
            self.ask(),
            self.ask("other"),
            self.ask(port=81),
            self.ask(addressTypes=[IPv4Address]),
            self.ask(addressTypes=[IPv6Address]),
            self.ask(addressTypes=[IPv6Address, IPv4Address]),
            self.ask(transportSemantics="UDP"),
        ]
        await gatherResults([receiver.done for receiver in receivers])
        self.assertEqual(
            set(self.names.asked),
            {
                ("api", 80, socket.AF_UNSPEC, socket.SOCK_STREAM),
                ("other", 80, socket.AF_UNSPEC, socket.SOCK_STREAM),
                ("api", 81, socket.AF_UNSPEC, socket.SOCK_STREAM),
                ("api", 80, socket.AF_INET, socket.SOCK_STREAM),
                ("api", 80, socket.AF_INET6, socket.SOCK_STREAM),
                ("api", 80, socket.AF_UNSPEC, socket.SOCK_DGRAM),
            },
        )
        # The two for both families.
        self.assertEqual(len(self.names.asked), 6)

    async def test_four_daemon_threads(self) -> None:
        """The fifth name waits for one of them; no process waits for any."""
        receivers = [self.ask(f"api{number}") for number in range(5)]
        while len(self.names.asked) < 4:
            await self.turn()
        for _ in range(5):
            await self.turn()
        self.assertEqual(len(self.names.asked), 4)
        self.names.answers.set()
        await gatherResults([receiver.done for receiver in receivers])
        self.assertEqual(len(self.names.threads), 4)
        self.assertEqual({thread.daemon for thread in self.names.threads}, {True})

    async def turn(self) -> None:
        """Let the reactor and threads work."""
        done: Deferred[None] = Deferred()
        reactor.callLater(0.01, done.callback, None)
        await done

    async def test_no_address(self) -> None:
        """An end without one, for everybody; the next one asks anew."""

        def fails(error: Exception) -> Sequence[Any]:
            raise error

        self.names.answers.set()
        for error in (socket.gaierror(-2, "Name or service not known"), OSError("no file"), UnicodeError("too long")):
            self.names.answer = lambda error=error: fails(error)  # type: ignore[misc]  # mypy cannot infer it
            self.assertEqual(await gatherResults([self.ask().done, self.ask().done]), [[], []])
        self.assertEqual(len(self.names.asked), 3)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_a_fault_is_logged(self) -> None:
        """And nobody waits for ever."""
        self.names.answers.set()
        self.names.answer = lambda: [1 // 0]
        self.assertEqual(await self.ask().done, [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_no_more_threads(self) -> None:
        """Is no address; later there may be some."""

        class NoThread(threading.Thread):
            def start(self) -> None:
                raise RuntimeError("can't start new thread")

        await self.turn()
        pool: Any = self.resolver._threads
        factory = pool.threadFactory
        pool.threadFactory = NoThread
        self.assertEqual(self.successResultOf(self.ask().done), [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        pool.threadFactory = factory
        self.names.answers.set()
        self.assertEqual(await self.ask().done, ADDRESSES)

    async def test_other_families(self) -> None:
        """Are none that anybody could connect to."""
        self.names.answers.set()
        self.names.answer = lambda: [(socket.AF_UNIX, *TCP, "/x"), *FOUND]
        self.assertEqual(await self.ask().done, ADDRESSES)

    async def test_semantics(self) -> None:
        """Are those that were asked for."""
        self.names.answers.set()
        addresses = await self.ask(transportSemantics="UDP").done
        self.assertEqual([getattr(address, "type", None) for address in addresses], ["UDP", "UDP"])

    async def test_who_does_not_wait_any_longer(self) -> None:
        """Is told nothing; the others are."""
        first, second = self.ask(), self.ask()
        assert first.began is not None
        first.began.cancel()
        self.names.answers.set()
        self.assertEqual(await second.done, ADDRESSES)
        self.assertEqual((first.addresses, first.done.called), ([], False))

    async def test_a_receivers_fault(self) -> None:
        """Is logged, and nobody else's."""
        self.resolver.resolveHostName(Receiver(fails=True), "api", portNumber=80)
        second = self.ask()
        self.names.answers.set()
        self.assertEqual(await second.done, ADDRESSES)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_there_is_not(self) -> None:
        """Is a fault of who asks."""
        for more in ({"transportSemantics": "SCTP"}, {"addressTypes": [IAddress]}):
            self.assertRaises(KeyError, self.ask, **more)

    async def test_an_endpoint(self) -> None:
        """Twisted's own finds its way by it, with the real ``getaddrinfo``."""
        before = IReactorPluggableNameResolver(reactor).installNameResolver(Resolver(reactor))
        self.addCleanup(reactor.installNameResolver, before)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
        self.addCleanup(port.stopListening)
        endpoint = HostnameEndpoint(reactor, "localhost", port.getHost().port)
        protocol: Any = await endpoint.connect(Factory.forProtocol(Protocol))
        protocol.transport.loseConnection()

    def test_no_thread_before_the_reactor_runs(self) -> None:
        """Which would not survive twistd's fork."""
        memory = MemoryReactorClock()
        resolver = Resolver(memory, self.names)
        self.assertEqual(len(memory.whenRunningHooks), 1)
        resolver.resolveHostName(Receiver(), "api", portNumber=80)
        self.assertEqual(resolver._threads.threads, [])


#: A reactor that stops while a look-up hangs, and with it the process.
_ENDS = """
import time
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from wsaas.net.resolver import Resolver

def hangs(*question):
    reactor.callFromThread(reactor.stop)
    time.sleep(3600)

reactor.installNameResolver(Resolver(reactor, hangs))
HostnameEndpoint(reactor, "api", 80).connect(Factory())
reactor.run()
print("the reactor has stopped", reactor.threadpool)
"""


class EndTests(SynchronousTestCase):
    """The end of a process."""

    def test_it_waits_for_no_name_server(self) -> None:
        """Though a look-up hangs for an hour; and the reactor's own threads, which are joined, do not even exist."""
        done = subprocess.run(
            [sys.executable, "-c", _ENDS],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "the reactor has stopped None\n"), done.stderr)

    def test_nobody_uses_the_threads_that_are_joined(self) -> None:
        """Those of the reactor: the end would wait for them, whatever ``DRAIN_TIMEOUT`` says."""
        joined = re.compile(r"deferToThread|[rR]eactor\.(resolve|callInThread|getThreadPool)\b|concurrent\.futures")
        top = Path(wsaas.__file__).parent
        users = [path.name for path in top.rglob("*.py") if joined.search(path.read_text(encoding="utf-8"))]
        self.assertEqual(users, [])
