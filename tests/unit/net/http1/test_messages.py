"""Requests' heads and whole responses as values."""

from __future__ import annotations

import json
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.test.requesthelper import DummyRequest

from tests.properties import moderately
from wsaas.net.http1.messages import (
    RequestFields,
    RequestHead,
    Response,
    client_of,
    json_response,
    phrase,
    text_response,
)


class RequestHeadTests(SynchronousTestCase):
    """What decisions need of a request."""

    def head(self, target: bytes = b"/", **headers: list[str]) -> RequestHead:
        """:returns: a head with some headers"""
        return RequestHead(b"GET", target, b"HTTP/1.1", RequestFields.of(Headers(dict(headers))))

    def test_all_values_of_a_header(self) -> None:
        """One for each line; in any case of the name."""
        head = self.head(cookie=["a, b", "c"])
        self.assertEqual(head.all(b"Cookie"), [b"a, b", b"c"])
        self.assertEqual(head.all(b"Origin"), [])

    def test_the_elements_of_a_list(self) -> None:
        """From all lines, lower case, empty ones left out (RFC 9110 §5.6.1)."""
        head = self.head(connection=["Keep-Alive ,, Upgrade", "", "close"])
        self.assertEqual(head.fields.tokens(b"Connection"), [b"keep-alive", b"upgrade", b"close"])
        self.assertEqual(head.fields.tokens(b"Upgrade"), [])

    def test_the_path_is_the_target_without_its_query(self) -> None:
        """Which may hold a client's token."""
        self.assertEqual(self.head(b"/a/b?c?d").path, b"/a/b")
        self.assertEqual(self.head(b"/a").path, b"/a")


class PhraseTests(SynchronousTestCase):
    """Reason phrases."""

    def test_all_statuses_of_the_contract_have_one(self) -> None:
        """twisted.web has none for 429."""
        for status in (400, 401, 403, 404, 405, 408, 413, 414, 415, 426, 429, 431, 502, 503, 504):
            self.assertNotEqual(phrase(status), "Unknown", status)
        self.assertEqual(phrase(429), "Too Many Requests")

    def test_an_api_may_invent_statuses(self) -> None:
        """Its 4xx goes to the client as it is."""
        self.assertEqual(phrase(499), "Unknown")


class _Asked(DummyRequest):
    """A request that remembers the phrase of its answer too."""

    said: tuple[int, bytes | None] | None = None

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        self.said = (code, message)


class ResponseTests(SynchronousTestCase):
    """A response, written as bytes or through a request."""

    def test_its_bytes(self) -> None:
        """Status line, headers, length, body (RFC 9112 §2.1)."""
        response = Response(404, ((b"A", b"1"), (b"A", b"2")), b"body")
        self.assertEqual(response.encode(), b"HTTP/1.1 404 Not Found\r\nA: 1\r\nA: 2\r\nContent-Length: 4\r\n\r\nbody")

    def test_the_answer_to_head_has_the_length_but_no_body(self) -> None:
        """RFC 9110 §9.3.2."""
        self.assertEqual(
            Response(200, (), b"body").encode(head_only=True), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        )

    def test_the_last_one_on_a_connection_says_so(self) -> None:
        """RFC 9112 §9.6."""
        self.assertIn(b"\r\nConnection: close\r\n", Response(400).encode(close=True))
        self.assertNotIn(b"Connection", Response(400).encode())

    def written(self, response: Response, method: bytes = b"GET") -> _Asked:
        """:returns: a request that was answered with it"""
        request = _Asked([])
        request.method = method
        response.write_to(request)  # type: ignore[arg-type]  # Twisted's own stand-in for a Request
        return request

    def test_a_request_can_be_answered_with_it(self) -> None:
        """The same status, phrase, headers and body either way; and it is finished."""
        request = self.written(Response(429, ((b"Allow", b"PUT"), (b"Allow", b"GET")), b"body"))
        self.assertEqual(request.said, (429, b"Too Many Requests"))
        self.assertEqual(request.responseHeaders.getRawHeaders(b"Allow"), [b"PUT", b"GET"])
        self.assertEqual(request.responseHeaders.getRawHeaders(b"Content-Length"), [b"4"])
        self.assertEqual(request.written, [b"body"])
        self.assertEqual(request.finished, 1)

    def test_a_head_request_gets_no_body(self) -> None:
        """But its length."""
        request = self.written(Response(200, (), b"body"), b"HEAD")
        self.assertEqual(request.written, [])
        self.assertEqual(request.responseHeaders.getRawHeaders(b"Content-Length"), [b"4"])
        self.assertEqual(request.finished, 1)

    def test_answers_to_the_api_are_json(self) -> None:
        """With a code at least, never cached (protocol §3)."""
        response = json_response(404, "NOT_FOUND", "no such connection", [(b"Allow", b"PUT")], extra=[1, None])
        self.assertEqual(
            json.loads(response.body), {"code": "NOT_FOUND", "message": "no such connection", "extra": [1, None]}
        )
        self.assertEqual(
            dict(response.headers),
            {
                b"Content-Type": b"application/json",
                b"Cache-Control": b"no-store",
                b"X-Content-Type-Options": b"nosniff",
                b"Allow": b"PUT",
            },
        )
        self.assertEqual(json.loads(json_response(200, "OK").body), {"code": "OK"})

    def test_answers_to_clients_are_text(self) -> None:
        """One sentence, never cached."""
        response = text_response(403, "nö", [(b"Retry-After", b"5")])
        self.assertEqual((response.status, response.body), (403, "nö\n".encode()))
        self.assertEqual(dict(response.headers)[b"Content-Type"], b"text/plain; charset=utf-8")
        self.assertEqual(dict(response.headers)[b"Cache-Control"], b"no-store")
        self.assertEqual(dict(response.headers)[b"Retry-After"], b"5")

    @moderately
    @given(st.text(st.characters(), max_size=30), st.integers(200, 599))
    def test_any_text_can_be_said(self, text: str, status: int) -> None:
        """Lone surrogates too, which have no UTF-8."""
        for response in (json_response(status, "X", text), text_response(status, text)):
            head, _, body = response.encode().partition(b"\r\n\r\n")
            self.assertEqual(body, response.body)
            self.assertIn(b"Content-Length: %d" % len(body), head.split(b"\r\n"))
            body.decode("utf-8")


class ClientOfTests(SynchronousTestCase):
    """``Ws-Client``: an IP address, no port."""

    def test_addresses(self) -> None:
        """As they are written shortest."""
        self.assertEqual(client_of(IPv4Address("TCP", "192.0.2.1", 5)), "192.0.2.1")
        self.assertEqual(client_of(IPv6Address("TCP", "2001:DB8:0::1", 5)), "2001:db8::1")

    @moderately
    @given(
        st.lists(
            st.integers(0, 300).map(str) | st.sampled_from(["", "00", "01", "a", "+1", " 1", "\u0661"]), max_size=5
        ).map(".".join)
        | st.ip_addresses().map(str)
        | st.text(max_size=12)
    )
    def test_any_address(self, host: str) -> None:
        """Is what :mod:`ipaddress` makes of it."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            expected = None
        else:
            expected = str(getattr(address, "ipv4_mapped", None) or address)
        self.assertEqual(client_of(IPv4Address("TCP", host, 5)), expected)

    def test_ipv4_through_an_ipv6_socket(self) -> None:
        """Is the IPv4 address that it is."""
        self.assertEqual(client_of(IPv6Address("TCP", "::ffff:192.0.2.1", 5)), "192.0.2.1")

    def test_without_the_interface(self) -> None:
        """A link-local address has its zone behind a percent sign, which means nothing to the API."""
        self.assertEqual(client_of(IPv6Address("TCP", "fe80::1%eth0", 5)), "fe80::1")

    def test_a_unix_socket_has_none(self) -> None:
        """Nor has what a PROXY header calls unknown."""
        self.assertIsNone(client_of(UNIXAddress("/run/x")))
        self.assertIsNone(client_of(IPv4Address("TCP", "unknown", 5)))
        self.assertIsNone(client_of(UNIXAddress(None)))
