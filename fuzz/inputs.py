"""What inputs are made of: choices of a seeded source, bytes that are damaged, streams that are cut.

hypothesis makes a thousand inputs a second and keeps what it needs to shrink them. This makes a hundred times as many;
what fails is made smaller afterwards (:mod:`fuzz.minimise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import TypeVar

T = TypeVar("T")

#: What parsers are most often wrong about, whatever they parse.
ODD = (
    b"",
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b",",
    b":",
    b";",
    b"=",
    b'"',
    b"\\",
    b"%",
    b"%00",
    b"%ff",
    b"/",
    b"..",
    b"@",
    b"[",
    b"]",
    b"*",
    b"{",
    b"}",
    b"{0.__class__}",
    b"-1",
    b"+1",
    b"0",
    b"00",
    b"0x1",
    b"1_0",
    b"1e9",
    b"\xd9\xa3",
    b"2147483648",
    b"18446744073709551616",
    b"9" * 40,
    b"9" * 5000,
    b"a" * 130,
    b"a" * 2100,
    b"a" * 17000,
)


class Draw:
    """Choices, each the same for the same seed.

    :param random: where they come from
    """

    def __init__(self, random: Random) -> None:
        self.random = random

    def one(self, items: Sequence[T]) -> T:
        """:returns: one of them"""
        return items[int(self.random.random() * len(items))]

    def chance(self, share: float) -> bool:
        """:returns: whether something happens that happens in this share of all cases"""
        return self.random.random() < share

    def number(self, most: int) -> int:
        """:returns: from 0 to the most, small ones more often"""
        return int(self.random.random() ** 2 * (most + 1))

    def some(self, items: Sequence[T], most: int) -> list[T]:
        """:returns: some of them, in any order, the same one perhaps twice"""
        return [self.one(items) for _ in range(self.number(most))] if items else []

    def noise(self, most: int) -> bytes:
        """:returns: any bytes"""
        return self.random.randbytes(self.number(most))

    def damaged(self, data: bytes, words: Sequence[bytes] = ODD, most: int = 3) -> bytes:
        """Damage bytes in a few places.

        :param words: what may be put in
        :param most: how often at most
        """
        for _ in range(1 + self.number(most - 1)):
            data = self._damage(data, words)
        return data

    def _damage(self, data: bytes, words: Sequence[bytes]) -> bytes:
        random = self.random.random
        kind = int(random() * 10)
        at = int(random() * (len(data) + 1))
        end = at + (self.number(8) if random() < 0.8 else self.number(len(data)))
        if kind <= 2:
            return data[:at] + self.one(words) + data[at:]
        if kind == 3:
            return data[:at] + self.one(words) + data[end:]
        if kind == 4:
            return data[:at] + data[end:]
        if kind == 5:
            return data[:at]
        if kind == 6:
            return data[:end] + data[at:]
        if kind == 7 and at < len(data):
            return data[:at] + bytes((data[at] ^ 1 << int(random() * 8),)) + data[at + 1 :]
        if kind == 8:
            other = int(random() * (len(data) + 1))
            return data[:at] + data[other : other + end - at] + data[end:]
        return data[:at] + self.noise(4) + data[at + 1 :]


def slices(stream: bytes, seed: int) -> list[bytes]:
    """Cut a stream as a network might.

    :param seed: 0: not at all; 1: into single bytes, if there are not too many; else anyhow
    """
    if seed == 0 or len(stream) < 2:
        return [stream] if stream else []
    if seed == 1 and len(stream) <= 600:
        return [stream[at : at + 1] for at in range(len(stream))]
    random = Random(seed)
    cuts = sorted({0, len(stream), *(random.randrange(len(stream)) for _ in range(1 + seed % 6))})
    return [stream[begin:end] for begin, end in pairwise(cuts)]


def parts(data: bytes) -> tuple[int, int, bytes]:
    """Take an input apart, most of which is a stream of bytes.

    :returns: which variant of the target's it is for, how the stream is cut, and the stream
    """
    return (data[0] if data else 0), (data[1] if len(data) > 1 else 0), data[2:]


def stream_input(draw: Draw, make: Callable[[Draw], bytes]) -> bytes:
    """:returns: an input that :func:`parts` takes apart

    :param make: makes the stream
    """
    cut = draw.one((0, 1)) if draw.chance(0.3) else int(draw.random.random() * 256)
    return bytes((int(draw.random.random() * 256), cut)) + make(draw)
