"""``--print-config``."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.settings.test_read import SECRETS
from wsaas import __version__
from wsaas.settings.read import Reading, read_settings
from wsaas.settings.show import first_line, shown
from wsaas.settings.table import SETTINGS


class ShowTests(SynchronousTestCase):
    """What is in force."""

    def test_every_setting(self) -> None:
        """In the order of the table; a default behind a #, what follows others or the machine as it is."""
        lines = shown(Reading({"API_URI": "x/", "WS_LISTEN": "tcp:27995", "LOG_LEVEL": "debug"}), 19360)
        self.assertTrue(lines.pop(0).startswith("# wsaas "))
        self.assertEqual([line.lstrip("#").partition("=")[0] for line in lines], [each.name for each in SETTINGS])
        for line in ("API_URI=x/", "WS_LISTEN=tcp:27995", "LOG_LEVEL=debug", "#LOG_FORMAT=text", "#PUSH_LISTEN="):
            self.assertIn(line, lines)
        self.assertIn("#WS_HOSTNAME=http://localhost:27995", lines)
        self.assertIn("#WS_MAX_CONNECTIONS=19360", lines)

    def test_the_first_line(self) -> None:
        """Of the log: who this is and between whom, without secrets."""
        given = {"API_URI": "api:9000/hook?token=secret", "STATE_DIR": "/var/lib/wsaas", "WS_LISTEN": "tcp:27995"}
        self.assertEqual(
            first_line(read_settings(given)),
            f"wsaas {__version__}: API_URI=http://api:9000/hook?…, WS_HOSTNAME=http://localhost:27995, "
            "STATE_DIR=/var/lib/wsaas",
        )
        given["API_URI"] = "unix:/run/api.sock:/hook?token=secret"
        self.assertIn(": API_URI=unix:/run/api.sock:/hook?…, ", first_line(read_settings(given)))
        self.assertEqual(
            first_line(read_settings({}, demo=True)),
            f"wsaas {__version__}: the demo's API, WS_HOSTNAME=http://localhost:8080, no STATE_DIR",
        )

    def test_it_can_be_read_again(self) -> None:
        """And means the same."""
        given = {"API_URI": "x/", "WS_TIMEOUT": "45s", "WS_LISTEN": "tcp6:1:interface=\\:\\:1", "WS_ORIGINS": "same"}
        lines = shown(Reading(given), 1)
        self.assertIn("WS_LISTEN='tcp6:1:interface=\\:\\:1'", lines)
        again = dict(line.replace("'", "").split("=", 1) for line in lines if not line.startswith("#"))
        self.assertEqual(again, given)
        self.assertEqual(read_settings(again), read_settings(given))

    def test_secrets(self) -> None:
        """Masked, wherever they are."""
        path = Path(self.mktemp()).absolute()
        path.write_text(SECRETS)
        given = {
            "API_URI": "https://x/?token=hunter2",
            "WS_HOSTNAME": "http://user:hunter2@x",
            "PUSH_TOKEN": "hunter2",
            "API_SECRET_FILE": str(path),
            "API_HEADERS": "X-A: hunter2\nX-B: hunter2",
        }
        text = "\n".join(shown(Reading(given), 1))
        for secret in ("hunter2", *SECRETS.split()):
            self.assertNotIn(secret, text)
        for line in ("API_URI=https://x/?…", "PUSH_TOKEN=…", f"API_SECRET_FILE={path}", "API_HEADERS='X-A: …\nX-B: …'"):
            self.assertIn(f"\n{line}\n", text)
