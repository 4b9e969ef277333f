"""What is likely wrong with an answer that lets nobody in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from wsaas.callbacks.hints import describe, encodings
from wsaas.net.http1.messages import Answer

URI = "http://api:9000/websocket"
KEY = "k" * 24


def said(status: int, body: bytes = b"", uri: str = URI, **fields: str) -> str:
    """:returns: what the log says of an answer"""
    headers = Headers()
    for name, value in fields.items():
        headers.addRawHeader(name.replace("_", "-").encode(), value.encode())
    return describe(Answer(status, headers, body), uri)


class HintTests(SynchronousTestCase):
    """Status, type and length of each; and a hint where there is one."""

    def test_no_hint(self) -> None:
        """An API that says no says enough."""
        for status in (401, 403, 500):
            self.assertEqual(
                said(status, b"{}", Content_Type="application/json; charset=utf-8"),
                f"the API answered {status} (application/json, 2 bytes)",
            )
        self.assertEqual(said(403), "the API answered 403 (no Content-Type, 0 bytes)")
        long = Answer(403, Headers(), b"", 4096)
        self.assertEqual(describe(long, URI), "the API answered 403 (no Content-Type, over 4096 bytes)")

    def test_a_page(self) -> None:
        """By its type, or by its beginning."""
        self.assertIn("(text/html, 0 bytes): a page of HTML: ", said(200, Content_Type="text/html"))
        self.assertIn(": a page of HTML: ", said(401, b"\n<!DOCTYPE html><title>"))
        self.assertNotIn(": ", said(500, b"<html>", Content_Type="text/html"))

    def test_csrf(self) -> None:
        """As Django, Laravel, Rails and Flask have it, in a page or in a cookie."""
        for text in (
            said(403, b"<h1>Forbidden</h1><p>CSRF verification failed. Request aborted.</p>", Content_Type="text/html"),
            said(419, b"Page Expired", Content_Type="text/html"),
            said(422, b"ActionController::InvalidAuthenticityToken"),
            said(400, b"The CSRF token is missing."),
            said(403, b"", Set_Cookie="XSRF-TOKEN=secret"),
        ):
            self.assertIn("CSRF", text.partition(": ")[2])
            self.assertNotIn("secret", text)

    def test_a_slash(self) -> None:
        """The usual cause of 404."""
        self.assertIn(": API_URI ends without a slash: ", said(404))
        self.assertIn(": API_URI ends with a slash: ", said(404, uri=f"{URI}/?tenant=1"))
        self.assertIn(": API_URI names no path: ", said(404, uri="http://api:9000/"))
        self.assertIn(": API_URI names no path: ", said(404, uri="unix:/run/api.sock:/"))
        self.assertIn(": API_URI ends without a slash: ", said(404, uri="unix:/run/api.sock:/ws"))

    def test_a_redirect(self) -> None:
        """Where it leads, without what may be secret, and how API_URI would have to be written."""
        for location, hint in (
            ("/login?next=SECRET", "this one leads to /login"),
            ("https://me:SECRET@id.example/login#SECRET", "this one leads to https://id.example/login"),
            (f"/{KEY}/x", "this one leads to /…/x"),
            ("/websocket/?SECRET", "leads to /websocket/: write API_URI with a slash at its end"),
            ("https://api/websocket", "leads to https://api/websocket: write API_URI with https"),
            ("//[", "redirects are not followed"),
        ):
            text = said(307, Location=location)
            self.assertTrue(text.endswith(hint), text)
            self.assertNotIn("SECRET", text)
        self.assertTrue(said(302, uri=f"{URI}/", Location="/websocket").endswith("API_URI without a slash at its end"))
        to_https = said(302, uri="unix:/run/api.sock:/websocket", Location="https://localhost/websocket")
        self.assertTrue(to_https.endswith("leads to https://localhost/websocket: exempt the route of API_URI from it"))
        self.assertTrue(said(304).endswith(": there is no Location in it"))

    def test_names_that_are_none(self) -> None:
        """Are not shown: they may be anything."""
        self.assertEqual(said(500, Content_Type="SECRET"), "the API answered 500 (an odd Content-Type, 0 bytes)")
        headers = Headers({b"Content-Encoding": [b"gzip, SECRET"]})
        self.assertEqual(encodings(Answer(200, headers, b"")), "gzip, unknown")

    def test_short(self) -> None:
        """However long its headers are."""
        self.assertLess(len(said(302, Location="/" + "x" * 9000, Content_Type="y" * 9000)), 600)
