"""That an attack which does harm is seen: harm is planted here."""

from __future__ import annotations

from twisted.logger import Logger

from tests.attacks.attack import Attack, AttackTestCase

#: What is claimed of a client that comes and goes.
CAME_AND_WENT = Attack("a client", "a handshake", "101", "POST, DELETE 1006")


class HarmTests(AttackTestCase):
    """What :class:`AttackTestCase` promises, with one client in place of an attack."""

    async def come(self) -> str:
        """:returns: the ``ws_uri`` of that client"""
        await self.begin()
        return (await self.connected())[1]

    async def check_seen(self, what: str, row: Attack = CAME_AND_WENT) -> None:
        """The test of an attack would fail, and say what was seen."""
        with self.assertRaises(self.failureException) as caught:
            await self.check_nothing_lost(row)
        self.assertIn(what, str(caught.exception))

    async def test_no_harm(self) -> None:
        """With nothing planted there is nothing to see."""
        await self.come()
        await self.check_nothing_lost(CAME_AND_WENT)

    async def test_error(self) -> None:
        """An error in the log, by whomever and without a traceback."""
        await self.come()
        Logger(namespace="twisted.web").error("planted")
        await self.check_seen("planted")

    async def test_no_error(self) -> None:
        """No error where there has to be one."""
        await self.come()
        self.expected_errors = ("awaited",)
        await self.check_seen("awaited")

    async def test_lines(self) -> None:
        """A log that grows."""
        await self.come()
        log = Logger(namespace="wsaas.planted")
        for number in range(20):
            log.info("planted {number}", number=number)
        await self.check_seen("planted {number}")

    async def test_told_otherwise(self) -> None:
        """The API is told something else than the row has."""
        await self.come()
        await self.check_seen("DELETE 1006", Attack("", "", "", "POST, DELETE 1000"))

    async def test_a_delete_too_many(self) -> None:
        """A second DELETE, which comes when the gateway stops."""
        ws_uri = await self.come()
        stop = self.stop_gateway

        async def stopping() -> None:
            wire = await self.dial(self.api.port)
            wire.send(self.request("DELETE", "http://x/hook", headers=[("Ws-Uri", ws_uri), ("Ws-Close-Code", "1006")]))
            await wire.reply()
            wire.drop()
            await stop()

        self.patch(self, "stop_gateway", stopping)
        await self.check_seen(ws_uri)
