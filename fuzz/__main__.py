"""The command line: ``python -m fuzz``."""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from fuzz import guided
from fuzz.targets import NAMES, Target, load

#: Seconds of coverage-guided fuzzing, if nothing else is said.
_GUIDED = 60.0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """:param arguments: by default those of this process"""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Tries every parser that touches bytes from outside, all in memory."
    )
    parser.add_argument("--inputs", type=int, default=20_000, metavar="N", help="in all targets together: 20000")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another one makes other inputs: 0")
    parser.add_argument("--seconds", type=float, metavar="S", help="for each target at most")
    parser.add_argument("--target", action="append", choices=list(NAMES), help="repeatable; default: all")
    parser.add_argument("--input", metavar="LITERAL", help="this one input for the one target, as b'…'")
    parser.add_argument("--input-file", type=Path, metavar="FILE", help="the same, from a file")
    parser.add_argument("--coverage-guided", choices=list(NAMES), metavar="TARGET", help="with atheris (extra: fuzz)")
    return parser.parse_args(arguments)


def literal(text: str) -> bytes:
    """:returns: the bytes that a Python literal stands for"""
    import ast

    value = ast.literal_eval(text)
    if not isinstance(value, bytes):
        raise SystemExit("--input is a literal of bytes, as b'…'")
    return value


def run_all(targets: Sequence[Target], options: argparse.Namespace) -> int:
    """Try all of them and print what came of it.

    :returns: the exit status: 1 if any input failed
    """
    from fuzz import campaign

    shares = sum(target.share for target in targets)
    print(f"{'target':10} {'inputs':>9} {'outcomes':>9} {'seconds':>8} {'failures':>8}")
    total, seconds, failed = 0, 0.0, 0
    for target in targets:
        most = -(-options.inputs * target.share // shares)
        report = campaign.run(target, options.seed, most, options.seconds)
        counts = f"{report.inputs:9} {len(report.outcomes):9} {report.seconds:8.1f} {len(report.failures):8}"
        print(f"{target.name:10} {counts}", flush=True)
        for failing in report.failures:
            print("".join(traceback.format_exception(failing.error, limit=-3, chain=False)))
            print(f"again: python -m fuzz --target {target.name} --input {shlex.quote(repr(failing.data))}", flush=True)
        total, seconds, failed = total + report.inputs, seconds + report.seconds, failed + len(report.failures)
    print(f"{'all':10} {total:9} {'':9} {seconds:8.1f} {failed:8}")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: by default those of this process
    :returns: the exit status
    """
    options = parse(arguments)
    if options.coverage_guided is not None:
        return guided.fuzz(options.coverage_guided, options.seconds or _GUIDED, options.seed)
    from fuzz.watch import silence, watch

    silence()
    targets = [load(name) for name in options.target or NAMES]
    if options.input is None and options.input_file is None:
        return run_all(targets, options)
    if len(targets) != 1:
        raise SystemExit("an input is for one --target")
    with watch:
        print(targets[0].run(literal(options.input) if options.input_file is None else options.input_file.read_bytes()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
