"""Reading the options of a unit."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.sandbox_case import UNIT
from tests.service_unit import ELSEWHERE, Service


class ServiceTests(SynchronousTestCase):
    """Reading a unit."""

    def test_options(self) -> None:
        """Of ours, each is applied or excused; the excuses are of options that have nothing to do with what it may."""
        service = Service(UNIT)
        excused = {name for name in ELSEWHERE if service.has(name)}
        sandboxing = (
            "Ambient",
            "Capability",
            "Lock",
            "Memory",
            "NoNew",
            "Private",
            "Proc",
            "Protect",
            "Restrict",
            "System",
        )
        self.assertEqual([name for name in excused if name.startswith(sandboxing)], [])

    def test_unknown(self) -> None:
        """An unknown line is an error."""
        error = self.assertRaises(ValueError, Service, UNIT, "[Service]\nPrivatePIDs=yes")
        self.assertIn("PrivatePIDs=", str(error))

    def test_value(self) -> None:
        """So is a value."""
        service = Service(UNIT, "[Service]\nProtectClock=maybe")
        self.assertRaises(ValueError, service.is_on, "ProtectClock")

    def test_drop_in(self) -> None:
        """The last value holds; lists grow, and start again after an empty one."""
        service = Service(
            "[Unit]\nUMask=1\n[Service]\nUMask=0077\nSystemCallFilter=a\nSystemCallFilter=~b\nAmbientCapabilities=CAP_NET_BIND_SERVICE",
            "[Service]\nUMask=0027\nSystemCallFilter=c\nAmbientCapabilities=",
        )
        self.assertEqual(service.text("UMask"), "0027")
        self.assertEqual(service.lines("SystemCallFilter"), ["a", "~b", "c"])
        self.assertEqual(service.capabilities("AmbientCapabilities"), set())
        self.assertTrue(service.has("AmbientCapabilities"))
