"""Ports for programs: nobody else's, now and a while later."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from bench import ports
from bench.ports import free_port
from tests.processes import has_ipv6


class FreePortTests(SynchronousTestCase):
    """What is found, and what others find meanwhile."""

    def socket(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        """:returns: one that is closed in the end"""
        opened = socket.socket(family)
        self.addCleanup(opened.close)
        return opened

    def test_kept(self) -> None:
        """Who looks for a port meanwhile does not find it."""
        port = free_port()
        self.assertRaises(OSError, self.socket().bind, ("127.0.0.1", port))

    def test_refused(self) -> None:
        """Nobody listens yet."""
        self.assertRaises(ConnectionRefusedError, self.socket().connect, ("127.0.0.1", free_port()))

    def test_servers(self) -> None:
        """A server listens on it, is alone there, and can do so again."""
        port = free_port()
        for host in ("127.0.0.1", "0.0.0.0"):
            server = self.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, port))
            server.listen()
            client = self.socket()
            client.connect(("127.0.0.1", port))
            server.accept()[0].close()
            second = self.socket()
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.assertRaises(OSError, second.bind, (host, port))
            server.close()

    def test_ipv6(self) -> None:
        """By the other protocol, too."""
        if not has_ipv6():
            self.skipTest("no IPv6 here")
        port = free_port("::1")
        self.assertRaises(OSError, self.socket(socket.AF_INET6).bind, ("::1", port))

    def test_many(self) -> None:
        """Ports are not those of connections, and not kept for ever: few sockets are open at a time."""
        found = [free_port() for _ in range(3 * ports._KEPT)]
        self.assertTrue(all(10_000 <= port < 32_768 for port in found))
        self.assertEqual(len(ports._kept), ports._KEPT)
        self.assertEqual(len(set(found[-ports._KEPT :])), ports._KEPT)
        self.assertEqual([kept.getsockname()[1] for kept in ports._kept], found[-ports._KEPT :])
