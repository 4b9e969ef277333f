"""What operators are told at the start."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.settings.test_read import SECRETS
from wsaas.settings.advice import warnings, without_units
from wsaas.settings.read import Settings, read_settings

API = {"API_URI": "127.0.0.1:9000/websocket"}


class WarningsTests(SynchronousTestCase):
    """What is allowed and yet worth a line at the start (protocol §5)."""

    def settings(self, *, demo: bool = False, **given: str) -> Settings:
        """:returns: settings, those of a gateway of which only this machine knows unless told otherwise"""
        usual = {} if demo else {**API, "WS_LISTEN": "tcp:8080:interface=127.0.0.1"}
        return read_settings({**usual, **given}, demo=demo)

    def test_nothing_to_warn_of(self) -> None:
        """Pushes from this machine only, an API on this machine."""
        self.assertEqual(warnings(self.settings()), [])
        self.assertEqual(warnings(self.settings(demo=True)), [])

    def test_more_clients_than_files(self) -> None:
        """What was allowed is not to be had; the warning says what is."""
        settings = self.settings(WS_MAX_CONNECTIONS="1000")
        self.assertEqual(warnings(settings, 20_000), [])
        (found,) = warnings(settings, 1024)
        self.assertIn("WS_MAX_CONNECTIONS is 1000", found)
        self.assertIn("1024 open files", found)

    def test_a_unix_socket(self) -> None:
        """One that is not there yet, is none, or may not be written to: it may become one, and is no error."""
        # The path of a socket is short.
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        place = Path(folder.name, "api.sock")
        settings = self.settings(API_URI=f"unix:{place}:/ws")
        (found,) = warnings(settings)
        self.assertIn(f"the socket {place}, which is not there yet", found)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            self.assertEqual(warnings(settings), [])
            self.patch(os, "access", lambda path, mode: False)
            (found,) = warnings(settings)
            self.assertIn("this account may not write", found)
        place.unlink()
        place.touch()
        (found,) = warnings(settings)
        self.assertIn("a file of another kind", found)

    def test_pushes_from_elsewhere(self) -> None:
        """Anyone who learns a ``ws_uri`` can push; the warning names the settings that prevent it."""
        for listen in (
            "",
            "tcp:8080",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:interface=127.0.0.1 tcp:8081",
            "tcp6:8080:interface=2001\\:db8\\:\\:1",
            "tcp6:8080:interface=\\:\\:",
            "systemd:domain=INET:index=0",
        ):
            found = warnings(self.settings(WS_LISTEN=listen, WS_HOSTNAME="http://localhost:8080"))
            self.assertEqual(len(found), 1, listen)
            self.assertIn("PUSH_LISTEN", found[0])

    def test_pushes_from_this_machine_only(self) -> None:
        """However that is written."""
        for listen in (
            "tcp:8080:interface=127.0.0.2",
            "tcp:8080:interface=localhost",
            "tcp6:8080:interface=\\:\\:1",
            "unix:/run/wsaas.sock",
            "tcp:8080:backlog=5:interface=127.0.0.1",
            "haproxy:tcp:8080:interface=127.0.0.1",
            "haproxy:unix:/run/wsaas.sock",
        ):
            settings = self.settings(WS_LISTEN=listen, WS_HOSTNAME="http://localhost:8080")
            self.assertEqual(warnings(settings), [], listen)

    def test_pushes_with_a_client_certificate(self) -> None:
        """No push gets in without one, on any endpoint that takes pushes."""
        asks = "ssl:8443:privateKey=/k:caCerts=/ca", "tls:/tls:8443:caCerts=/ca", "haproxy:tls:/tls:8443:caCerts=/ca"
        for place in (*asks, " ".join(asks), f"{asks[0]} tcp:8080:interface=127.0.0.1"):
            settings = self.settings(PUSH_LISTEN=place, WS_HOSTNAME="https://localhost:8443")
            self.assertEqual(warnings(settings), [], place)
        plain = "ssl:8443:privateKey=/k", "tls:/tls:8443", "tls:/caCerts:8443"
        for place in (*plain, f"{asks[0]} tls:/tls:8444", f"{asks[0]} tcp:8080"):
            (found,) = warnings(self.settings(PUSH_LISTEN=place, WS_HOSTNAME="https://localhost:8443"))
            self.assertIn("caCerts=", found)

    def test_a_listener_of_their_own(self) -> None:
        """Then it does not matter where clients come from."""
        for place, count in (("tcp:9001:interface=127.0.0.1", 0), ("tcp:9001", 1)):
            settings = self.settings(WS_LISTEN="tcp:8080", WS_HOSTNAME="http://localhost:9001", PUSH_LISTEN=place)
            self.assertEqual(len(warnings(settings)), count, place)

    def test_an_api_elsewhere_that_is_led_to_itself(self) -> None:
        """By a ``WS_HOSTNAME`` that means "this machine" everywhere."""
        for hostname in (
            "http://localhost:8080",
            "localhost:8080",
            "127.0.0.1:8080",
            "http://[::1]:8080",
            "x.localhost:8080",
        ):
            found = warnings(self.settings(API_URI="http://api.example/", WS_HOSTNAME=hostname, API_SECRET=SECRETS))
            self.assertEqual(len(found), 1, hostname)
            self.assertIn("WS_HOSTNAME", found[0])
            self.assertIn("api.example", found[0])
        for api in ("localhost", "127.0.0.1", "[::1]:80"):
            self.assertEqual(warnings(self.settings(API_URI=api)), [])
        settings = self.settings(API_URI="http://api.example/", WS_HOSTNAME="push.example:8080", API_SECRET=SECRETS)
        self.assertEqual(warnings(settings), [])

    def test_an_api_elsewhere_that_cannot_tell_who_calls(self) -> None:
        """It is told to check signatures."""
        (found,) = warnings(self.settings(API_URI="http://api.example/", WS_HOSTNAME="push.example:8080"))
        self.assertIn("API_SECRET", found)
        for api in ("localhost", "127.0.0.1", "[::1]:80"):
            self.assertEqual(warnings(self.settings(API_URI=api)), [])

    def test_a_hostname_that_leads_nowhere(self) -> None:
        """Port or scheme are those of no endpoint for pushes: one warning, which says what there is."""
        for listen, hostname, why in (
            ("tcp:27995", "http://localhost:8080", "WS_LISTEN has no such port (tcp:27995)"),
            ("tcp:27995", "http://localhost", "no such port"),
            ("tcp:27995", "localhost", "no such port"),
            ("tcp:80", "https://localhost", "no such port"),
            ("tls:/t", "http://localhost:443", "WS_LISTEN speaks https on that port"),
            ("tcp:8080 tcp:8443", "https://localhost:8443", "speaks http on that port"),
        ):
            (found,) = warnings(self.settings(WS_LISTEN=listen, WS_HOSTNAME=hostname, PUSH_TOKEN="t"))
            self.assertTrue(found.startswith(f"WS_HOSTNAME is {hostname}, but "), found)
            self.assertIn(why, found)
        given = {"WS_LISTEN": "tcp:8080", "PUSH_LISTEN": "tcp:8081", "WS_HOSTNAME": "http://localhost:8080"}
        (found,) = warnings(read_settings({**API, **given, "PUSH_TOKEN": "t"}))
        self.assertIn("PUSH_LISTEN has no such port (tcp:8081)", found)
        (found,) = warnings(self.settings(WS_LISTEN="", WS_HOSTNAME="localhost:80", PUSH_TOKEN="t"))
        self.assertIn("(tcp:8080)", found)

    def test_a_hostname_that_leads_here(self) -> None:
        """By the port that is said, or meant; or nobody can tell."""
        for listen, hostname in (
            ("", "localhost:8080"),
            ("tcp:80", "localhost"),
            ("tls:/t", "localhost"),
            ("tls:/t", "https://localhost"),
            ("tls:/t:8443", "localhost:8443"),
            ("unix:/x tcp:8080 tls:/t:8443", "https://localhost:8443/x"),
            ("systemd:domain=INET:name=wsaas", "http://localhost"),
            ("tcp:0", "http://localhost"),
            ("haproxy:tcp:8080", "https://push.test"),
        ):
            settings = self.settings(WS_LISTEN=listen, WS_HOSTNAME=hostname, PUSH_TOKEN="t")
            self.assertEqual(warnings(settings), [], (listen, hostname))
        proxied = {"WS_LISTEN": "tcp:8080", "WS_HOSTNAME": "https://push.test", "TRUST_PROXY": "1"}
        self.assertEqual(warnings(read_settings({**API, **proxied, "PUSH_TOKEN": "t"})), [])

    def test_a_hostname_that_nothing_tells(self) -> None:
        """The default may be wrong."""
        for listen in ("unix:/x", "systemd:domain=INET:name=wsaas", "tcp:0", "haproxy:tcp:8080"):
            (found,) = warnings(self.settings(WS_LISTEN=listen, PUSH_TOKEN="t"))
            self.assertIn("WS_HOSTNAME is not set, and WS_LISTEN does not tell", found)
        self.assertEqual(warnings(self.settings(WS_LISTEN="unix:/x tcp:1", PUSH_TOKEN="t")), [])

    def test_pushes_from_elsewhere_that_need_a_token(self) -> None:
        """They are what the operator wants."""
        (found,) = warnings(self.settings(WS_LISTEN="tcp:8080"))
        self.assertIn("PUSH_TOKEN", found)
        self.assertEqual(warnings(self.settings(WS_LISTEN="tcp:8080", PUSH_TOKEN="token")), [])

    def test_a_token_with_two_scopes(self) -> None:
        """Whoever may push to one client may publish to all."""
        (found,) = warnings(self.settings(PUSH_TOKEN="one hunter2", PUBLISH_TOKEN="hunter2 two"))
        self.assertIn("PUSH_TOKEN and PUBLISH_TOKEN have a token in common", found)
        self.assertNotIn("hunter2", found)
        self.assertEqual(warnings(self.settings(PUSH_TOKEN="one hunter2", PUBLISH_TOKEN="two")), [])


class UnitTests(SynchronousTestCase):
    """Durations without a unit."""

    def test_seconds_that_are_milliseconds(self) -> None:
        """Each is a line that says how it is written, and either way silences it."""
        self.assertEqual(
            without_units({"WS_TIMEOUT": "30", "API_MAX_REQUESTS": "30", "HOME": "30"}),
            [
                "WS_TIMEOUT is 30 milliseconds, as it has no unit; if seconds are meant, write 30s, or else 30ms",
            ],
        )
        for name in ("WS_TIMEOUT", "API_TIMEOUT", "API_RETRY_FOR", "API_DELETE_FOR", "DRAIN_TIMEOUT"):
            self.assertEqual(len(without_units({name: "999"})), 1)
            for text in ("0", "30s", "30ms", "1000", "soon", ""):
                self.assertEqual(without_units({name: text}), [], text)
