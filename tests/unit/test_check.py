"""``--check``: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from bench.ports import free_port
from tests.certificates import self_signed
from tests.memory_machine import Machine
from wsaas.callbacks.journal_file import JournalFile
from wsaas.callbacks.state_dir import StateDir
from wsaas.check import check
from wsaas.settings.read import Reading

API = {"API_URI": "127.0.0.1:9000/"}


class FilesTests(SynchronousTestCase):
    """``--check=files``: everything but the ports."""

    def found(self, **given: str) -> list[str]:
        """:returns: what is wrong, each in a line; nothing listens"""
        machine = Machine()
        found = check(Reading({**API, **given}), machine, ports=False)
        self.assertEqual((machine.tcpServers, machine.unixServers), ([], []))
        return [str(error) for error in found]

    def names(self, **given: str) -> list[str]:
        """:returns: the settings that are wrong"""
        return [said.partition(":")[0] for said in self.found(**given)]

    def test_nothing(self) -> None:
        """What can be used."""
        certificate, key = self_signed()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "x.pem").write_bytes(certificate + key)
        for given in (
            {},
            {"WS_LISTEN": f"tls:{folder}:443 unix:/x tcp:0"},
            {"WS_LISTEN": "systemd:domain=INET6:name=wsaas", "STATE_DIR": f"{folder}/state"},
            {"WS_LISTEN": "haproxy:systemd:domain=INET:index=0"},
        ):
            self.assertEqual(self.found(**given), [])
        self.assertEqual([path.name for path in folder.iterdir()], ["x.pem"])

    def test_everything(self) -> None:
        """Each is said once, with all that is wrong beside it."""
        names = self.names(
            WS_TIMEOUT="soon",
            API_CA="/nowhere/ca.pem",
            WS_LISTEN="tls:/nowhere:443 tcp:http tcp:70000 tcp:1:interface=::1",
            PUSH_LISTEN="ssl:443:privateKey=/nowhere.pem",
            ADMIN_LISTEN="systemd:name=x",
            STATE_DIR="/nowhere/state",
            PUSH_TOKEN_FILE="/nowhere/token",
        )
        listed = [
            "PUSH_TOKEN_FILE",
            "WS_TIMEOUT",
            "API_CA",
            *["WS_LISTEN"] * 4,
            "PUSH_LISTEN",
            "ADMIN_LISTEN",
            "STATE_DIR",
        ]
        self.assertEqual(names, listed)

    def test_sockets_of_systemd(self) -> None:
        """By their form only: a check before the start is not handed any."""
        for place, why in (
            ("systemd:name=x", "neither INET nor INET6"),
            ("systemd:domain=INET", "not one of name= and index="),
            ("systemd:domain=INET:index=0:name=x", "not one of name= and index="),
            ("systemd:domain=INET:index=x", "not a number"),
        ):
            (said,) = self.found(WS_LISTEN=place)
            self.assertIn(why, said)

    def test_a_folder_in_use(self) -> None:
        """By the gateway that runs; a check of everything minds."""
        path = Path(self.mktemp()).absolute()
        folder = StateDir(path)
        folder.open()
        self.addCleanup(folder.close)
        self.assertEqual(self.found(STATE_DIR=str(path)), [])
        (error,) = check(Reading({**API, "STATE_DIR": str(path)}), Machine(), ports=True)
        self.assertIn(f"process {os.getpid()} uses", str(error))

    def test_the_journal(self) -> None:
        """A damaged one prevents the start; a sound one stays as it is."""
        path = Path(self.mktemp()).absolute()
        folder = StateDir(path)
        folder.open()
        file = JournalFile(folder.journal)
        file.open()
        file.close()
        folder.close()
        reading = Reading({**API, "STATE_DIR": str(path)})
        for _ in range(2):
            self.assertEqual(check(reading, Machine(), ports=True), [])
        folder.journal.write_bytes(b"nonsense" * 1000)
        (error,) = check(reading, Machine(), ports=True)
        self.assertIn("journal.sqlite is sound", str(error))

    def test_folders_that_cannot_be_made(self) -> None:
        """Whatever the account may do elsewhere."""
        for path in ("/proc/x", "/nowhere/x", "/etc/hostname/x"):
            self.assertEqual(self.names(STATE_DIR=path), ["STATE_DIR"])

    def test_metrics(self) -> None:
        """They need one more package, without which nothing is wrong."""
        self.assertEqual(self.found(ADMIN_LISTEN="tcp:9100"), [])
        self.patch(sys, "modules", {**sys.modules, "prometheus_client": None})
        self.assertEqual(self.found(ADMIN_LISTEN="tcp:9100"), [])

    def test_the_demo(self) -> None:
        """It needs no API."""
        self.assertEqual(check(Reading({}, demo=True), Machine(), ports=True), [])


class PortTests(TestCase):
    """``--check``: ports, too."""

    def found(self, **given: str) -> list[str]:
        """:returns: what is wrong, each in a line"""
        return [str(error) for error in check(Reading({**API, **given}), reactor, ports=True)]

    def assert_gone(self, path: str) -> None:
        """Nothing is left of a UNIX socket."""
        self.assertFalse(Path(path).exists())

    async def test_free(self) -> None:
        """They are free afterwards, too."""
        path = self.mktemp()
        places = f"tcp:{(port := free_port())}:interface=127.0.0.1 unix:{path}"
        self.assertEqual(self.found(WS_LISTEN=places), [])
        await deferLater(reactor, 0)
        self.assert_gone(path)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        self.assertEqual(self.found(WS_LISTEN=places), [])
        await deferLater(reactor, 0)

    async def test_taken(self) -> None:
        """Each that is."""
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            taken = [f"tcp:{each.getsockname()[1]}:interface=127.0.0.1" for each in (one, other)]
            free = f"tcp:{free_port()}:interface=127.0.0.1"
            found = self.found(WS_LISTEN=f"{taken[0]} {free}", PUSH_LISTEN=taken[1], ADMIN_LISTEN="tcp:0")
        self.assertEqual(len(found), 2)
        for said, name, place in zip(found, ("WS_LISTEN", "PUSH_LISTEN"), taken, strict=True):
            self.assertIn(f"{name}: {place!r} cannot be used: Address already in use", said)
        await deferLater(reactor, 0)

    async def test_one_port_twice(self) -> None:
        """Two settings that name it."""
        place = f"tcp:{free_port()}:interface=127.0.0.1"
        (said,) = self.found(WS_LISTEN=place, PUSH_LISTEN=place)
        self.assertIn("PUSH_LISTEN", said)
        await deferLater(reactor, 0)
