"""What the gateway says of itself on ``/metrics``: whether anything is left when everybody is gone."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec

#: What must be zero then; for each the sum over its labels.
LEFT_OVER = (
    "wsaas_connections",
    "wsaas_connections_paused",
    "wsaas_requests_awaited",
    "wsaas_buffered_bytes",
    "wsaas_callbacks_in_flight",
    "wsaas_callbacks_waiting",
    "wsaas_goodbyes_owed",
)

_SAMPLE = re.compile(r"^(\w+)(?:\{.*\})? (\S+)", re.MULTILINE)


def can_be_read() -> bool:
    """Whether ``ADMIN_LISTEN`` has metrics: they need prometheus_client."""
    return find_spec("prometheus_client") is not None


def endpoint(port: int) -> str:
    """``ADMIN_LISTEN`` for a port."""
    return f"tcp:{port}:interface=127.0.0.1"


async def read_gauges(port: int) -> dict[str, float]:
    """
    All samples, those of one name added up.

    :raises OSError: nobody answers.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode("utf-8", "replace")
    writer.close()
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            pass  # a line of the head
    return found


async def left_over(port: int, timeout: float) -> list[str]:
    """
    Wait until nothing is left.

    :param timeout: seconds.
    :returns: what is left all the same.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        found = await read_gauges(port)
        # The request that asks is one that is awaited, or was a moment ago.
        left = {
            name: found.get(name) for name in LEFT_OVER if found.get(name, 1.0) > (name == "wsaas_requests_awaited")
        }
        if not left or asyncio.get_running_loop().time() > deadline:
            return [f"{name}: {value}" for name, value in left.items()]
        await asyncio.sleep(0.2)
