"""URIs of servers on UNIX sockets; what is none is in ``tests.unit.settings.test_values``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsaas.net.unix_uri import as_http, is_unix, split_unix


class UnixUriTests(SynchronousTestCase):
    """``unix:/run/api.sock:/path?query``."""

    def test_parts(self) -> None:
        """A socket, and what is asked for there."""
        self.assertEqual(split_unix("unix:/run/api.sock:/a?b"), ("/run/api.sock", "/a?b"))
        self.assertEqual(split_unix("unix:/run/api.sock"), ("/run/api.sock", "/"))

    def test_as_http(self) -> None:
        """What is there is this machine; every other URI stays as it is."""
        self.assertEqual(as_http("unix:/run/api.sock:/a?b"), "http://localhost/a?b")
        self.assertEqual(as_http("http://unix/a?b"), "http://unix/a?b")

    def test_another_scheme(self) -> None:
        """It is none."""
        self.assertFalse(is_unix("http://unix:80/"))
        self.assertRaises(ValueError, split_unix, "http://unix:80/")

    @given(st.text(alphabet="/:?a.", max_size=20))
    def test_any_text(self, text: str) -> None:
        """Whatever is accepted can be written again, and is the same."""
        try:
            socket, target = split_unix(f"unix:{text}")
        except ValueError:
            return
        self.assertTrue(socket.startswith("/") and target.startswith("/"))
        self.assertEqual(split_unix(f"unix:{socket}:{target}"), (socket, target))
