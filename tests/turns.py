"""One turn of a reactor in memory: Twisted's Clock also makes the calls that those of the same turn ask for."""

from __future__ import annotations

from twisted.internet.task import Clock


def take_turn(clock: Clock, seconds: float = 0.0) -> None:
    """Let some time pass, and make the calls that are due then. What these ask for is for the next turn.

    :param clock: of the test
    """
    clock.rightNow += seconds
    for call in [each for each in clock.calls if each.getTime() <= clock.seconds()]:
        if call.active():
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
