"""Smaller inputs that fail in the same way."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from time import monotonic


def kind_of(error: BaseException) -> tuple[type[BaseException], str, int | None]:
    """:returns: what makes two failures the same one: the exception, how it begins, and where it was raised"""
    frames = traceback.extract_tb(error.__traceback__)
    return type(error), str(error).partition(":")[0][:20], frames[-1].lineno


def failure_of(run: Callable[[bytes], object], data: bytes) -> Exception | None:
    """:returns: what an input is wrong about, if anything"""
    try:
        run(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return error
    return None


def minimise(run: Callable[[bytes], object], data: bytes, seconds: float = 20.0) -> bytes:
    """Make a failing input smaller, as long as it fails in the same way (delta debugging, then byte by byte).

    :param run: raises for it
    :param seconds: to spend at most
    :returns: the smallest that was found
    """
    first = failure_of(run, data)
    if first is None:
        return data
    kind = kind_of(first)
    deadline = monotonic() + seconds

    def fails(candidate: bytes) -> bool:
        error = failure_of(run, candidate)
        return error is not None and kind_of(error) == kind

    size = max(len(data) // 2, 1)
    while monotonic() < deadline:
        at, smaller = 0, data
        while at < len(smaller) and monotonic() < deadline:
            candidate = smaller[:at] + smaller[at + size :]
            if fails(candidate):
                smaller = candidate
            else:
                at += size
        if size == 1 and smaller == data:
            break
        data, size = smaller, max(size // 2, 1)
    for at, byte in enumerate(data):
        for plain in (0, ord("a")):
            candidate = data[:at] + bytes((plain,)) + data[at + 1 :]
            if byte not in (0, ord("a")) and monotonic() < deadline and fails(candidate):
                data = candidate
                break
    return data
