"""Tuning of Python's garbage collector for many long-lived connections.

A closed connection leaves no reference cycles (with TLS, Twisted leaves a small one), so that reference counting frees
it at once. The collector would find little, and for that visit every object of every open connection in one go, which
blocks the reactor: for 54 ms with 1,500 connections, for 271 ms with 15,000.
"""

from __future__ import annotations

import gc

#: The thresholds of :func:`gc.set_threshold`: allocations per collection of generation 0, those per collection of
#: generation 1, and those per collection of generation 2, which covers everything. The second is low, as a collection
#: of generation 1 visits all objects since the last one: 100,000, or a few thousand connections.
_THRESHOLDS = (20_000, 5, 10_000)


def settle() -> None:
    """Exempt everything that exists after the start (modules, classes, settings), and collect the rest seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
