"""Command lines of ``wsaas push``, ``publish`` and ``connect``. No secret is an option: others see those."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from wsaas.settings.values import file_text, words

#: Where a gateway listens that was told nothing else.
_BASE = "http://localhost:8080"
_TARGET = re.compile(r"all|(groups|users)/[^/?#]+")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")
_TEXT_HELP = "the message; without it, standard input: text less one line end, or with --binary all there is"
_FILE_HELP = "a file with the token, in place of {} or {}_FILE in the environment"


@dataclass(frozen=True, slots=True)
class Message:
    """What ``wsaas push`` and ``wsaas publish`` send.

    :param url: where to
    :param body: the message
    :param binary: whether it is a binary one
    :param token: of ``PUSH_TOKEN`` or ``PUBLISH_TOKEN``
    """

    url: str
    body: bytes = field(repr=False)
    binary: bool = False
    token: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Dial:
    """What ``wsaas connect`` does.

    :param url: where to
    :param protocols: subprotocols to offer
    :param headers: more headers of the handshake
    :param binary: whether lines are sent as binary messages
    :param wait: seconds for which the connection stays after the end of the lines
    """

    url: str
    protocols: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    binary: bool = False
    wait: float = 1.0


def _ws_uri(text: str) -> str:
    if text.startswith(("ws://", "wss://")):
        raise ArgumentTypeError("that is where clients connect; a ws_uri is what the API is told")
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    # What is wrong with it is not shown: a ws_uri is a secret.
    if not usable or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ArgumentTypeError("it is not an http:// or https:// URL")
    return url


def _ws_url(text: str) -> str:
    url = text if "://" in text else f"ws://{text}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or "#" in url or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ArgumentTypeError("it is not a ws:// or wss:// URL")
    return url


def _target(text: str) -> str:
    if not _TARGET.fullmatch(text):
        raise ArgumentTypeError("it is none of all, groups/NAME and users/NAME")
    return quote(os.fsencode(text), safe="/%:@!$&'()*+,;=~")


def _header(text: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(text)
    if match is None:
        raise ArgumentTypeError("it is not Name: value")
    return match[1], match[2]


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text, re.ASCII):
        raise ArgumentTypeError("it is not a number of seconds")
    return float(text)


def _token(parser: ArgumentParser, path: str | None, environ: Mapping[str, str], names: Sequence[str]) -> bytes | None:
    """:returns: the first token of the file, or of the first of these settings that is given"""
    source = "--token-file"
    try:
        if path is not None:
            return words(1)(file_text(path))[0]
        for name in names:
            source = name
            if environ.get(name, "").strip():
                return words(1)(environ[name])[0]
            source = f"{name}_FILE"
            if environ.get(source, "").strip():
                return words(1)(file_text(environ[source]))[0]
    except ValueError as error:
        parser.error(f"{source}: {error}")
    return None


def _body(given: Namespace, standard_input: BinaryIO) -> bytes:
    if given.text is not None:
        return os.fsencode(given.text)
    read = standard_input.read()
    return read if given.binary or not read.endswith(b"\n") else read[:-1].removesuffix(b"\r")


def _of_message(parser: ArgumentParser, name: str) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help=_TEXT_HELP)
    parser.add_argument("--binary", action="store_true", help="send a binary message")
    parser.add_argument("--token-file", metavar="FILE", help=_FILE_HELP.format(name, name))


def push(given: Sequence[str], environ: Mapping[str, str], standard_input: BinaryIO) -> Message:
    """Read the command line of ``wsaas push``."""
    parser = ArgumentParser("wsaas push", description="Send a message to one client.", allow_abbrev=False)
    parser.add_argument("ws_uri", type=_ws_uri, metavar="WS_URI", help="the URL of the connection, as your API has it")
    _of_message(parser, "PUSH_TOKEN")
    found = parser.parse_intermixed_args(given)
    # That of PUBLISH_TOKEN opens pushes, too.
    token = _token(parser, found.token_file, environ, ("PUSH_TOKEN", "PUBLISH_TOKEN"))
    return Message(found.ws_uri, _body(found, standard_input), found.binary, token)


def publish(given: Sequence[str], environ: Mapping[str, str], standard_input: BinaryIO) -> Message:
    """Read the command line of ``wsaas publish``."""
    parser = ArgumentParser("wsaas publish", description="Send a message to many clients.", allow_abbrev=False)
    parser.add_argument("target", type=_target, metavar="TARGET", help="all, groups/NAME or users/NAME")
    _of_message(parser, "PUBLISH_TOKEN")
    parser.add_argument(
        "--url", type=_ws_uri, help=f"the gateway, in place of WS_HOSTNAME in the environment [default: {_BASE}]"
    )
    found = parser.parse_intermixed_args(given)
    base = found.url
    if base is None:
        try:
            base = _ws_uri(environ.get("WS_HOSTNAME", "").strip() or _BASE)
        except ArgumentTypeError as error:
            parser.error(f"WS_HOSTNAME: {error}")
    token = _token(parser, found.token_file, environ, ("PUBLISH_TOKEN",))
    return Message(f"{base.removesuffix('/')}/{found.target}", _body(found, standard_input), found.binary, token)


def connect(given: Sequence[str]) -> Dial:
    """Read the command line of ``wsaas connect``."""
    parser = ArgumentParser(
        "wsaas connect",
        description="Be a client: each line of standard input is sent, each message is printed. The end of the input "
        "(Ctrl-D) or Ctrl-C closes the connection.",
        allow_abbrev=False,
    )
    parser.add_argument("url", type=_ws_url, metavar="WS_URL", help="such as ws://localhost:8080/chat?room=7")
    parser.add_argument("--binary", action="store_true", help="send lines as binary messages")
    parser.add_argument("--protocol", action="append", default=[], metavar="NAME", help="offer a subprotocol")
    parser.add_argument(
        "--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'", help="add to the handshake"
    )
    parser.add_argument(
        "--wait", type=_seconds, default=1.0, metavar="SECONDS", help="stay after the end of the input [default: 1]"
    )
    found = parser.parse_intermixed_args(given)
    return Dial(found.url, tuple(found.protocol), dict(found.header), found.binary, found.wait)
