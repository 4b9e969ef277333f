"""
A user's API that accepts every client and echoes every message with ``Ws-Reply``.

Run as a script (``python tests/echo_api.py``): it listens on a free port of 127.0.0.1, prints ``listening PORT`` and
serves keep-alive HTTP/1.1 until SIGTERM. ``GET`` tells how often each method was called, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter

BODY_LIMIT = 64 * 2**20  #: bytes; far above the largest message of the test suite (16 MiB)


def answer(calls: Counter[str], method: str, headers: dict[str, str], body: bytes) -> bytes:
    """
    The whole answer to one call.

    :param calls: how often each method was called before.
    :param headers: names in lower case.
    :returns: head and body, ready for the socket.
    """
    extra = ""
    if method == "POST":
        content = b'{"code": "OK"}'
    elif method == "PUT":
        # The gateway tells the kind of a message by its type alone: text/* is text, application/octet-stream binary.
        kind = "text" if headers.get("content-type", "").startswith("text/") else "binary"
        extra = f"Ws-Reply: {kind}\r\n"
        content = body
    elif method == "DELETE":
        content = b""
    else:
        content = json.dumps(calls).encode()
    if method != "GET":
        calls[method] += 1
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n{extra}\r\n".encode("ascii") + content


async def serve_connection(calls: Counter[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until its end; a request that cannot be read ends it."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request_line, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            length = int(headers.get("content-length", "0"))
            if "transfer-encoding" in headers or not 0 <= length <= BODY_LIMIT:
                break
            body = await reader.readexactly(length)
            writer.write(answer(calls, request_line.partition(" ")[0], headers, body))
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass  # the other side left or does not speak HTTP: there is nobody to tell
    except asyncio.CancelledError:
        pass  # the API ends: idle connections are closed without a word
    finally:
        writer.close()


async def serve() -> None:
    """Listen until SIGTERM."""
    calls: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(lambda reader, writer: serve_connection(calls, reader, writer), "127.0.0.1", 0)
    print("listening", server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 -- tells the port
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
