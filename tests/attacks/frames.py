"""Frames of one client's: what the modules about frames have in common."""

from __future__ import annotations

from tests.attacks.attack import AttackTestCase
from wsaas.connections import close_timeout as closing

#: A limit that is quickly passed.
LIMIT = "10000"


class FrameTestCase(AttackTestCase):
    """Frames of one client's."""

    title = "Broken and oversized frames"

    def setUp(self) -> None:
        """After some of these the client's answer to Close cannot be read; nobody has to wait as long as in earnest."""
        super().setUp()
        self.patch(closing, "CLOSE_TIMEOUT", 0.05)
