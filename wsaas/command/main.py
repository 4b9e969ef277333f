"""Which command is meant: one of four words, or the options of ``twistd -n wsaas``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import BytesIO
from threading import Thread
from typing import Any, BinaryIO, NoReturn

from twisted.internet.defer import Deferred
from twisted.web.client import URI

from wsaas.command import words
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.pool import endpoint_for

#: Seconds for a connection to be made; bytes of an answer.
_CONNECT, _MAX_ANSWER = 20.0, 1 << 20
_USAGE = """\
Usage: wsaas [options]                 run the gateway: twistd -n wsaas [options]
       wsaas check [options]           say all that is wrong with the settings: --check
       wsaas push WS_URI [TEXT]        send a message to one client
       wsaas publish TARGET [TEXT]     send a message to all, groups/NAME or users/NAME
       wsaas connect WS_URL            be a client: lines in, messages out
Each of the last three has a --help of its own. The options of the gateway:

"""


def twistd_words(given: Sequence[str]) -> list[str]:
    """:returns: the command line of twistd for one of ours"""
    if given and given[0] == "check":
        # An option of the same name that follows has the last word.
        return ["-n", "wsaas", "--check", *given[1:]]
    return ["-n", "wsaas", *given]


def main(given: Sequence[str] | None = None) -> None:
    """Run the command.

    :param given: its words; those of the process if not given
    """
    given = sys.argv[1:] if given is None else given
    command = given[0] if given else ""
    if command == "push":
        _run(_send, words.push(given[1:], os.environ, _input()))
    elif command == "publish":
        _run(_send, words.publish(given[1:], os.environ, _input()))
    elif command == "connect":
        _run(_connect, words.connect(given[1:]))
    else:
        _run_gateway(given)


def _input() -> BinaryIO:
    # Who was started without one has none.
    return BytesIO() if sys.stdin is None else sys.stdin.buffer


def _run_gateway(given: Sequence[str]) -> None:
    from twisted.scripts.twistd import run  # noqa: PLC0415 - importing it installs the reactor

    if list(given) in (["--help"], ["help"]):
        sys.stdout.write(_USAGE)
        given = ["--help"]
    sys.argv[1:] = twistd_words(given)
    run()


def _run(command: Any, what: Any) -> NoReturn:
    """Run one that ends by itself, on the global reactor, which ``react()`` has."""
    from twisted.internet.task import react  # noqa: PLC0415 - the gateway's own way is twistd

    async def until_done(reactor: Any) -> None:
        sys.exit(await command(reactor, what))

    react(lambda reactor: Deferred.fromCoroutine(until_done(reactor)))
    raise AssertionError("react() exits")


async def _send(reactor: Any, message: words.Message) -> int:
    from wsaas.command.requests import send  # noqa: PLC0415 - treq is not for those who do not send

    agent = PersistentAgent(reactor, ApiTrust(None, None), 1, _CONNECT, _MAX_ANSWER)
    return await send(agent, reactor, message, sys.stdout, sys.stderr)


async def _connect(reactor: Any, dial: words.Dial) -> int:
    from wsaas.command.client import LineClient, Lines, pump, talk  # noqa: PLC0415 - nor is Autobahn's client

    def read_from(client: LineClient) -> None:
        # A daemon, as it may wait for the terminal when everything else is over.
        Thread(target=pump, args=(lambda size: os.read(0, size), reactor, Lines(client)), daemon=True).start()

    # ws and wss are as http and https are.
    uri = URI.fromBytes(b"http" + dial.url.removeprefix("ws").encode("ascii"))
    endpoint = endpoint_for(reactor, ApiTrust(None, None), uri, _CONNECT)
    return await talk(reactor, endpoint, dial, (sys.stdout, sys.stderr), read_from)
