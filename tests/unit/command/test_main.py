"""Which command is meant."""

from __future__ import annotations

import sys
from io import StringIO

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from wsaas.command.main import main, twistd_words


class MainTests(SynchronousTestCase):
    """``wsaas …`` is ``twistd -n wsaas …``; the rest is in ``tests.system.test_command``."""

    def ran(self, *given: str) -> tuple[list[str], str]:
        """:returns: the command line of twistd, and what was written before"""
        out, lines = StringIO(), []
        self.patch(sys, "stdout", out)
        self.patch(sys, "argv", ["/bin/wsaas", *given])
        self.patch(twistd, "run", lambda: lines.append(sys.argv[1:]))
        main()
        (line,) = lines
        return line, out.getvalue()

    def test_the_gateway(self) -> None:
        """In the foreground."""
        for given in ((), ("--demo",), ("--api-uri", "localhost:5000"), ("unknown",)):
            self.assertEqual(self.ran(*given), (["-n", "wsaas", *given], ""))

    def test_check(self) -> None:
        """An option of that name."""
        self.assertEqual(twistd_words(["check", "--demo"]), ["-n", "wsaas", "--check", "--demo"])

    def test_help(self) -> None:
        """All commands, then the options."""
        for word in ("--help", "help"):
            line, said = self.ran(word)
            self.assertEqual(line, ["-n", "wsaas", "--help"])
            for command in ("check", "push", "publish", "connect"):
                self.assertIn(f"\n       wsaas {command} ", said)
