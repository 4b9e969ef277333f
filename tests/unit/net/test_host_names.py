"""Names of hosts that can be called, those with underscores among them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet import reactor
from twisted.internet._resolver import SimpleResolverComplexifier
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IResolverSimple
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from wsaas.net.host_names import NamedEndpoint, check_name


class NameTests(SynchronousTestCase):
    """What a name may look like."""

    def test_names(self) -> None:
        """Underscores wherever letters may be, dashes within a part, a dot at the end."""
        for name in (
            "a",
            "localhost",
            "my_api",
            "_dmarc.a.test",
            "a_",
            "a--b",
            "r3---sn.test",
            "1.test",
            "a.test.",
            "x" * 63,
        ):
            check_name(name)
        check_name(".".join(["x" * 63] * 3 + ["y" * 61]))

    def test_what_breaks_which_rule(self) -> None:
        """Each is said."""
        for name, why in (
            ("a..b", "empty"),
            (".", "empty"),
            ("", "empty"),
            ("x" * 64, "63 characters"),
            (".".join(["x" * 63] * 3 + ["y" * 62]), "253 characters"),
            ("-a", "dashes within"),
            ("a-.test", "dashes within"),
            ("a%2fb", "only letters"),
            ("m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen", "only letters"),
            ("a b", "only letters"),
            ("a\n", "only letters"),
        ):
            self.assertIn(why, str(self.assertRaises(ValueError, check_name, name)), name)


@implementer(IResolverSimple)
class Resolver:
    """Knows one address for every name, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def getHostByName(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        """:returns: an address of loopback"""
        self.asked.append(name)
        return succeed("127.0.0.1")


class EndpointTests(TestCase):
    """Connecting by such names."""

    def test_each_name_reaches_the_resolver_as_it_is(self) -> None:
        """With Twisted's own endpoint, the first two would fail without being asked for."""
        for name in ("my_api", "r3---sn.test", "localhost", "xn--mnchen-3ya.test"):
            memory, resolver = MemoryReactorClock(), Resolver()
            memory.installNameResolver(SimpleResolverComplexifier(resolver))
            connecting = NamedEndpoint(memory, name.encode("ascii"), 9000).connect(Factory.forProtocol(Protocol))
            self.assertEqual(resolver.asked, [name])
            self.assertEqual(memory.tcpClients[0][:2], ("127.0.0.1", 9000))
            connecting.addErrback(lambda _: None)
            connecting.cancel()

    async def test_a_name_that_nobody_has(self) -> None:
        """It fails as any other."""
        connecting = NamedEndpoint(reactor, b"no_such_name.invalid", 9000).connect(Factory.forProtocol(Protocol))
        await self.assertFailure(connecting, DNSLookupError)
