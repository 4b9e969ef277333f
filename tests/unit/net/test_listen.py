"""Where it listens: on real sockets of the loopback interface, on ports that the system chooses."""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from bench.ports import free_port
from tests.certificates import self_signed
from tests.descriptions import escaped
from tests.processes import has_ipv6
from wsaas.errors import SettingsError
from wsaas.net import listen
from wsaas.net.listen import BACKLOG, DefaultEndpoint, Endpoint, ListeningPort, endpoints, listen_all, with_backlog


def factory() -> Factory:
    """:returns: makes protocols that do nothing"""
    return Factory.forProtocol(Protocol)


def address(port: IListeningPort) -> IPv4Address | IPv6Address:
    """:returns: where a port listens"""
    where = port.getHost()
    assert isinstance(where, IPv4Address | IPv6Address)
    return where


class BacklogTests(SynchronousTestCase):
    """How many connections wait to be accepted."""

    def test_ours_unless_it_has_its_own(self) -> None:
        """Twisted's 50 drop handshakes in a burst."""
        self.assertEqual(with_backlog("tcp:80"), "tcp:80:backlog=1024")
        self.assertEqual(with_backlog("unix:/run/x"), "unix:/run/x:backlog=1024")
        self.assertEqual(with_backlog("tcp:80:backlog=7"), "tcp:80:backlog=7")

    def test_what_has_no_backlog_is_left_alone(self) -> None:
        """systemd listens itself."""
        self.assertEqual(with_backlog("systemd:domain=INET:index=0"), "systemd:domain=INET:index=0")

    def test_it_reaches_the_socket(self) -> None:
        """As the number that listen(2) is called with."""
        memory = MemoryReactor()
        for description in ("tcp:80", "tcp6:80", "haproxy:tcp:80"):
            self.successResultOf(listen_all(endpoints(memory, "WS_LISTEN", [description]), factory()))
        self.successResultOf(listen_all([DefaultEndpoint(memory)], factory()))
        self.assertEqual([server[2] for server in memory.tcpServers], [BACKLOG] * 5)


class DescriptionTests(SynchronousTestCase):
    """Descriptions that make no endpoint, each found before anything listens."""

    def refused(self, description: str) -> SettingsError:
        """:returns: the error, which has to come, and be one line"""
        error: SettingsError = self.assertRaises(
            SettingsError, endpoints, MemoryReactor(), "PUSH_LISTEN", ["tcp:1", description]
        )
        self.assertEqual((error.name, error.given), ("PUSH_LISTEN", description))
        self.assertNotIn("\n", str(error))
        return error

    def test_nonsense(self) -> None:
        """Of all sorts that Twisted's parsers meet."""
        for description in (
            "tcp:",
            "tcp",
            "tcp:http",
            "tcp:80:nonsense=1",
            "ssl:443",
            "tls:",
            "tls::443",
            "haproxy:x:1",
        ):
            self.assertIn("endpoint description", str(self.refused(description)), description)

    def test_an_ipv6_address_without_backslashes(self) -> None:
        """Its colons end options: how it is written is said, and that works."""
        for given, right in (
            ("tcp:8080:interface=::1", r"tcp:8080:interface=\:\:1"),
            ("tcp6:8080:interface=fd00::5", r"tcp6:8080:interface=fd00\:\:5"),
            ("tcp:8080:interface=[::1]", r"tcp:8080:interface=\:\:1"),
            ("haproxy:tcp:8080:interface=::1:backlog=5", r"haproxy:tcp:8080:interface=\:\:1:backlog=5"),
            ("tcp6:interface=2001:db8::1:port=80", r"tcp6:interface=2001\:db8\:\:1:port=80"),
            ("tcp:8080:interface=::ffff:127.0.0.1", r"tcp:8080:interface=\:\:ffff\:127.0.0.1"),
        ):
            self.assertIn(f"backslash before it: {right} (", self.refused(given).why)
            endpoints(MemoryReactor(), "WS_LISTEN", [right])

    def test_what_is_wrong_is_said(self) -> None:
        """In words for operators, not in those of Python."""
        for description, why in (
            ("tcp:8080,tcp:8081", "separated by blanks"),
            ("tcp:http", "the port is not a number: 'http'"),
            ("tcp6:port=x", "the port is not a number: 'x'"),
            ("tcp:", "the port is not a number: ''"),
            ("tcp:70000:interface=127.0.0.1", "there is no port 70000"),
            ("tls:/x:port=70000", "there is no port 70000"),
            ("tcp:80:nonsense=1", "nonsense= is no option"),
            ("tls:/x:443:nonsense=1", "nonsense= is no option"),
        ):
            self.assertIn(why, self.refused(description).why)

    def test_systemd_without_systemd(self) -> None:
        """Says what is missing."""
        self.assertIn("systemd", self.refused("systemd:domain=INET:index=0").allowed)
        self.assertIn("systemd", self.refused("systemd:domain=INET:name=web").allowed)

    def test_files_that_are_not_there(self) -> None:
        """The message names them."""
        missing = self.mktemp()
        self.assertIn(missing, str(self.refused(f"tls:{missing}:443")))
        self.assertIn(missing, str(self.refused(f"haproxy:tls:{missing}:443")))
        self.assertIn(missing, str(self.refused(f"ssl:443:privateKey={missing}")))

    def test_what_is_allowed(self) -> None:
        """The message says that, and names the setting, the endpoint, the file and what is wrong with it."""
        certificate, _ = self_signed()
        folder = self.folder(x=certificate)
        for description in (f"tls:{folder}:443", f"ssl:443:privateKey={folder}/x.pem", f"haproxy:tls:{folder}:443"):
            self.assertEqual(
                str(self.refused(description)),
                f"PUSH_LISTEN: {description!r} cannot be used: {folder}/x.pem: no private key in it; allowed: PEM "
                "files that this process can read, with a certificate, its chain, and its private key without "
                "passphrase",
            )

    def folder(self, **files: bytes) -> Path:
        """:returns: a folder with .pem files"""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, content in files.items():
            (folder / f"{name}.pem").write_bytes(content)
        return folder

    def test_a_tls_folder_without_certificates(self) -> None:
        """Twisted would start, and fail each handshake."""
        folder = self.folder()
        self.assertIn(f"{folder}: no .pem file", str(self.refused(f"tls:{folder}:443")))
        folder = self.folder(localhost=b"-----BEGIN DH PARAMETERS-----")
        self.assertIn("private key", str(self.refused(f"tls:{folder}:443")))

    def test_pem_files_that_are_damaged(self) -> None:
        """Cut in the middle, or of a key that is not the certificate's."""
        (certificate, key), (_, other) = self_signed(), self_signed()
        for content in (certificate[:100] + key, certificate + key[:60] + b"-----END PRIVATE KEY-----\n"):
            self.refused(f"tls:{self.folder(x=content)}:443")
        path = Path(self.mktemp())
        path.write_bytes(certificate + other)
        self.refused(f"ssl:443:privateKey={path}:certKey={path}")
        path.write_bytes(b"-----BEGIN nonsense")
        self.refused(f"ssl:443:privateKey={path}")

    def test_good_certificates(self) -> None:
        """A self-signed one beside its own key is a leaf; paths may be escaped and named."""
        certificate, key = self_signed()
        folder = self.folder(localhost=certificate + key)
        path = folder / "localhost.pem"
        made = endpoints(
            MemoryReactor(),
            "WS_LISTEN",
            [f"tls:{folder}:443", f"tls:path={folder}:port=443", f"ssl:443:privateKey={path}"],
        )
        self.assertEqual(len(made), 3)
        colon = folder.with_name(folder.name + ":x y")
        folder.rename(colon)
        self.assertEqual(len(endpoints(MemoryReactor(), "WS_LISTEN", [f"tls:{escaped(colon)}:443"])), 1)


class LoopbackTests(TestCase):
    """On real sockets."""

    def listening(self, *places: Endpoint | DefaultEndpoint) -> Deferred[list[IListeningPort]]:
        """:returns: fires with the ports, which the end of the test closes"""

        def opened(listening: list[ListeningPort]) -> list[IListeningPort]:
            ports = [each.port for each in listening]
            for port in ports:
                self.addCleanup(port.stopListening)
            return ports

        return Deferred.fromCoroutine(listen_all(places, factory())).addCallback(opened)

    async def refused(self, *places: Endpoint | DefaultEndpoint) -> SettingsError:
        """:returns: why it cannot listen"""
        error: Any = await self.assertFailure(self.listening(*places), SettingsError)
        assert isinstance(error, SettingsError)
        return error

    def taken(self) -> int:
        """:returns: a port of 127.0.0.1 that is taken until the end of the test"""
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        number: int = other.getsockname()[1]
        return number

    async def test_it_listens_at_every_place(self) -> None:
        """In the order of the setting."""
        path = Path(self.mktemp())
        places = endpoints(reactor, "WS_LISTEN", ["tcp:0:interface=127.0.0.1", f"unix:{path}"])
        tcp, _ = await self.listening(*places)
        self.assertEqual(address(tcp).host, "127.0.0.1")
        with socket.create_connection(("127.0.0.1", address(tcp).port)):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    async def test_a_port_in_use(self) -> None:
        """One error, which names the setting, the description and the system's reason."""
        description = f"tcp:{self.taken()}:interface=127.0.0.1"
        error = await self.refused(*endpoints(reactor, "WS_LISTEN", [description]))
        self.assertEqual((error.name, error.given), ("WS_LISTEN", description))
        self.assertIn("in use", error.why)

    async def test_an_address_that_is_not_ours(self) -> None:
        """192.0.2.0/24 is for documentation (RFC 5737)."""
        places = endpoints(reactor, "WS_LISTEN", ["tcp:0:interface=192.0.2.1"])
        error = await self.refused(*places)
        self.assertIn("assign", error.why)

    async def test_a_folder_that_is_not_there(self) -> None:
        """For a UNIX socket."""
        places = endpoints(reactor, "WS_LISTEN", [f"unix:{self.mktemp()}/x"])
        error = await self.refused(*places)
        self.assertEqual(error.name, "WS_LISTEN")

    async def test_at_none_if_one_fails(self) -> None:
        """What was opened before is closed again."""
        first = free_port()
        places = endpoints(
            reactor,
            "WS_LISTEN",
            [f"tcp:{first}:interface=127.0.0.1", f"tcp:{self.taken()}:interface=127.0.0.1"],
        )
        await self.refused(*places)
        # A port closes in the next turn of the reactor.
        await deferLater(reactor, 0)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", first))

    async def test_the_default_is_one_port_on_every_address(self) -> None:
        """IPv4, and IPv6 where the machine has it."""
        number = free_port()
        self.patch(listen, "DEFAULT_PORT", number)
        await self.listening(DefaultEndpoint(reactor))
        for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
            with socket.create_connection((host, number)):
                pass

    async def test_the_default_port_in_use(self) -> None:
        """By another process, on one address: then neither is opened."""
        number = self.taken()
        self.patch(listen, "DEFAULT_PORT", number)
        error = await self.refused(DefaultEndpoint(reactor))
        self.assertEqual((error.name, error.given), ("WS_LISTEN", f"tcp:{number}"))
        self.assertIn("in use", error.why)
        if has_ipv6():
            self.assertRaises(ConnectionRefusedError, socket.create_connection, ("::1", number))

    async def test_the_default_of_the_demo_is_this_machine_only(self) -> None:
        """Its page shows keys."""
        number = free_port()
        self.patch(listen, "DEFAULT_PORT", number)
        ports = await self.listening(DefaultEndpoint(reactor, local=True))
        hosts = {address(port).host for port in ports}
        self.assertEqual(hosts, {"127.0.0.1", "::1"} if has_ipv6() else {"127.0.0.1"})
        self.assertEqual({address(port).port for port in ports}, {number})


class _PartlyDeaf(MemoryReactor):
    """A machine on which listening fails at some addresses."""

    def __init__(self, errors: dict[str, int]) -> None:
        super().__init__()
        self.errors = errors
        #: The interfaces that are listened at.
        self.open: list[str] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if interface in self.errors:
            raise CannotListenError(interface, port, OSError(self.errors[interface], "reason"))
        listening: Any = super().listenTCP(port, factory, backlog, interface)
        self.open.append(interface)
        listening.stopListening = lambda: self.open.remove(interface)
        return listening


class DefaultTests(SynchronousTestCase):
    """The default on machines that differ."""

    def test_without_ipv6(self) -> None:
        """IPv4 alone will do, for everyone and for this machine only."""
        for error in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            machine = _PartlyDeaf({"::": error, "::1": error})
            self.assertEqual(len(self.successResultOf(listen_all([DefaultEndpoint(machine)], factory()))), 1)
            local = DefaultEndpoint(machine, local=True)
            self.assertEqual(len(self.successResultOf(listen_all([local], factory()))), 1)
            self.assertEqual(machine.open, ["", "127.0.0.1"])

    def test_an_ipv6_socket_that_serves_ipv4_too(self) -> None:
        """The second one's address is in use, by ourselves."""
        machine = _PartlyDeaf({"": errno.EADDRINUSE})
        self.assertEqual(len(self.successResultOf(listen_all([DefaultEndpoint(machine)], factory()))), 1)

    def test_on_this_machine_only_no_socket_serves_both(self) -> None:
        """The second address is taken, so the first port is closed again."""
        machine = _PartlyDeaf({"127.0.0.1": errno.EADDRINUSE})
        self.failureResultOf(listen_all([DefaultEndpoint(machine, local=True)], factory()), SettingsError)
        self.assertEqual(machine.open, [])

    def test_ipv4_that_fails_for_another_reason(self) -> None:
        """Is an error, and the IPv6 socket is closed again."""
        machine = _PartlyDeaf({"": errno.EACCES})
        error = self.failureResultOf(listen_all([DefaultEndpoint(machine)], factory()), SettingsError).value
        self.assertTrue(re.search("reason", str(error)))
        self.assertEqual(machine.open, [])
