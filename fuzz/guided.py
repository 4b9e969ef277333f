"""Coverage-guided fuzzing with atheris (libFuzzer): inputs that reach new branches are kept and damaged further."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fuzz import targets
from fuzz.inputs import Draw

#: Inputs of our own that it begins with.
_SEEDS = 2000
#: Bytes of an input at most.
_LONGEST = 20000
#: Where branches are looked for.
_PACKAGES = ["wsaas", "autobahn.websocket", "twisted.web", "twisted.protocols", "prometheus_client"]


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Try inputs, led by coverage, until the time is over or one fails; libFuzzer prints what it finds.

    In a process of its own, which libFuzzer ends without cleaning up. An input that failed is left in the current
    folder, and is for ``--input-file``.

    :returns: the exit status
    """
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install 'wsaas[fuzz]'", file=sys.stderr)
        return 1
    with TemporaryDirectory(prefix="fuzz-") as folder:
        command = [sys.executable, "-m", "fuzz.guided", name, str(int(seconds)), str(seed)]
        return subprocess.run(command, check=False, env={**os.environ, "TMPDIR": folder}).returncode


def _fuzz_here(name: str, seconds: int, seed: int) -> None:
    """The same, ending this process."""
    import atheris

    with atheris.instrument_imports(include=_PACKAGES):
        target = targets.load(name)
    from fuzz.campaign import corpus
    from fuzz.watch import silence, watch

    silence()
    inputs = Path(os.environ["TMPDIR"]) / "inputs"
    inputs.mkdir()
    for number, data in enumerate(corpus(name)):
        (inputs / f"failed-{number}").write_bytes(data)
    draw = Draw(Random(seed))
    for number in range(_SEEDS):
        (inputs / str(number)).write_bytes(target.make(draw)[:_LONGEST])
    arguments = [
        "fuzz",
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        f"-seed={seed + 1}",
        f"-artifact_prefix={Path.cwd()}{os.sep}",
        "-print_final_stats=1",
        "-timeout=20",
        str(inputs),
    ]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = Draw(Random(seed))
        changed = draw.damaged(data) if draw.chance(0.5) else atheris.Mutate(data, most)
        return bytes(changed[:most])

    def try_one(data: bytes) -> None:
        target.run(data)

    with watch:
        atheris.Setup(arguments, try_one, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    _fuzz_here(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
