"""TCP ports for the programs that a run starts."""

from __future__ import annotations

import socket
from collections import deque
from random import SystemRandom

#: None of those that the kernel gives to whoever connects: a program that ended must find its port again.
_PORTS = range(10_000, 32_768)
#: How many are kept at a time; far more than one run of anything needs at once.
_KEPT = 64

_kept: deque[socket.socket] = deque()


def free_port(host: str = "127.0.0.1") -> int:
    """
    A TCP port on which nobody listens, and that nobody else finds who looks for one.

    A socket stays bound to it, until this process ends or has looked for many more: others that run side by side
    would otherwise choose the same one now and then, and talk to each other's programs. What is started here can
    listen on it all the same, since that socket does not listen: ``SO_REUSEADDR`` of socket(7), which all servers set.

    :param host: an address of this machine.
    """
    while True:
        port = SystemRandom().choice(_PORTS)
        keeper = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            # Without the option: it fails if anybody has the port, listening or not.
            keeper.bind((host, port))
        except OSError:
            keeper.close()
            continue
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _kept.append(keeper)
        if len(_kept) > _KEPT:
            _kept.popleft().close()
        return port
