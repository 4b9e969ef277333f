"""Many inputs for one target: how many were tried, what came of them, and which failed."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from fuzz.inputs import Draw
from fuzz.minimise import failure_of, kind_of, minimise
from fuzz.targets import Target
from fuzz.watch import watch

#: Inputs that failed once, by target.
CORPUS = Path(__file__).parent / "corpus"
#: Failures after which a target is left: the rest would most likely be the same ones.
MOST_FAILURES = 5


@dataclass(frozen=True)
class Failing:
    """An input that failed.

    :param data: the input, made as small as it would get
    :param error: what was raised
    """

    data: bytes
    error: Exception


@dataclass
class Report:
    """What came of a campaign.

    :param target: its name
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    outcomes: set[Hashable] = field(default_factory=set)
    failures: list[Failing] = field(default_factory=list)


def corpus(name: str) -> Iterator[bytes]:
    """:returns: what failed once"""
    for path in sorted((CORPUS / name).glob("*")):
        yield path.read_bytes()


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """:returns: those that failed once, then new ones without end, the same for the same seed"""
    yield from corpus(target.name)
    draw = Draw(Random(zlib.crc32(target.name.encode()) ^ seed))
    while True:
        yield target.make(draw)


def run(target: Target, seed: int, most: int, seconds: float | None = None, patience: float = 20.0) -> Report:
    """Try inputs.

    :param most: how many
    :param seconds: for how long at most
    :param patience: seconds that are spent to make a failing input smaller
    """
    report = Report(target.name)
    kinds: set[Hashable] = set()
    began = monotonic()
    with watch:
        for data in inputs(target, seed):
            report.inputs += 1
            try:
                report.outcomes.add(target.run(data))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                if kind_of(error) not in kinds:
                    kinds.add(kind_of(error))
                    small = minimise(target.run, data, patience)
                    report.failures.append(Failing(small, failure_of(target.run, small) or error))
            if report.inputs >= most or len(report.failures) >= MOST_FAILURES:
                break
            if seconds is not None and monotonic() - began >= seconds:
                break
    report.seconds = monotonic() - began
    return report
