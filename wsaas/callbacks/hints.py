"""What the log says of an answer that lets nobody in: its status, type and length, and what is likely wrong.

Nothing of its body and no query is told: either may hold a secret.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlsplit

from wsaas.logs import without_keys
from wsaas.net.http1.messages import Answer
from wsaas.net.unix_uri import as_http, is_unix

#: Statuses with which frameworks refuse requests without their CSRF token: Django, Laravel, Rails, Flask-WTF.
_OF_CSRF = frozenset({400, 403, 419, 422})
#: Laravel's own, for nothing else.
_PAGE_EXPIRED = 419
_CSRF = (b"csrf", b"xsrf", b"authenticity")
_HTML = (b"<!doctype html", b"<html")
_CODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "identity"})
#: What else stands there is no type, and may be anything.
_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")
#: Bytes of a body that are looked at, and characters of a header that are shown.
_LOOKED_AT, _SHOWN = 1 << 16, 150


def _value(answer: Answer, name: bytes) -> str:
    """:returns: the values of a header, as much as is shown of them"""
    return b", ".join(answer.headers.getRawHeaders(name, ())).decode("latin-1")[:_SHOWN]


def _media_type(answer: Answer) -> str:
    text = _value(answer, b"Content-Type").partition(";")[0].strip().lower()
    return text if not text or _TYPE.fullmatch(text) else "an odd Content-Type"


def describe(answer: Answer, uri: str, more: str = "") -> str:
    """:returns: an answer to a POST as the log has it

    :param uri: ``API_URI``
    :param more: what is wrong with it, with a leading blank or comma
    """
    status, kind = answer.status, _media_type(answer) or "no Content-Type"
    size = f"{len(answer.body)}" if answer.cut is None else f"over {answer.cut}"
    said = f"the API answered {status} ({kind}, {size} bytes){more}"
    hint = _hint(answer, uri)
    return f"{said}: {hint}" if hint else said


def encodings(answer: Answer) -> str:
    """:returns: the codings of an answer's body, as the log has them: by name, if they are known"""
    named = [each.strip().lower() for each in _value(answer, b"Content-Encoding").split(",")]
    return ", ".join(each if each in _CODINGS else "unknown" for each in named[:3])


def _hint(answer: Answer, uri: str) -> str:
    """:returns: the likely cause; nothing if there is none"""
    status = answer.status
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return _of_redirect(answer, uri)
    if status in _OF_CSRF and _is_of_csrf(answer):
        return "this looks like protection against CSRF: exempt the route of API_URI from it"
    if status == HTTPStatus.NOT_FOUND:
        path = urlsplit(as_http(uri)).path
        if path in ("", "/"):
            return "API_URI names no path: is the API's route /?"
        return f"API_URI ends {'with' if path.endswith('/') else 'without'} a slash: does the API's route, too?"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # Frameworks describe their own failures in pages.
        return ""
    if _media_type(answer) == "text/html" or answer.body[:64].lstrip().lower().startswith(_HTML):
        return "a page of HTML: is API_URI the API's route, and does nothing before it ask for a login?"
    return ""


def _is_of_csrf(answer: Answer) -> bool:
    looked_at = answer.body[:_LOOKED_AT].lower() + _value(answer, b"Set-Cookie").lower().encode("latin-1")
    return answer.status == _PAGE_EXPIRED or any(word in looked_at for word in _CSRF)


def _of_redirect(answer: Answer, uri: str) -> str:
    location = _value(answer, b"Location")
    if not location:
        return "there is no Location in it"
    try:
        to, own = urlsplit(location), urlsplit(as_http(uri))
    except ValueError:
        return "redirects are not followed"
    # Neither user and password nor a query.
    host = to.netloc.rpartition("@")[2]
    shown = f"{to.scheme}:" if to.scheme else ""
    shown += f"//{host}" if host else ""
    shown += without_keys(to.path)
    hint = f"redirects are not followed, and this one leads to {shown or '/'}"
    if to.path != own.path and to.path.rstrip("/") == own.path.rstrip("/"):
        slash = "with" if to.path.endswith("/") else "without"
        return f"{hint}: write API_URI {slash} a slash at its end"
    if to.scheme == "https" and own.scheme == "http" and to.path == own.path:
        if is_unix(uri):
            # No TLS is spoken there.
            return f"{hint}: exempt the route of API_URI from it"
        return f"{hint}: write API_URI with https"
    return hint
