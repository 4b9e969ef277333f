"""Programs that judge what is written for machines: each in an environment of its own, as ``.ci/run`` makes it.

They want other versions of what the gateway uses, or are no Python at all, so they are run as programs. A test is
skipped where they are not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.processes import ROOT

#: Names the folder of an environment with ``pip install '.[docs]'``.
VARIABLE = "CONTRACT_TOOLS"


def tool(name: str) -> str:
    """:returns: a program of the extra ``docs``; the test is skipped if there is none"""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise SkipTest(f"{VARIABLE} names no environment with the extra docs (.ci/run makes one)")
    program = ROOT / folder / "bin" / name
    if not program.exists():
        raise SkipTest(f"{VARIABLE} names an environment without {name}")
    return str(program)


def run(
    argv: list[str], given: object = None, timeout: float = 120, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """:returns: what became of a program, which reads JSON from its standard input"""
    text = json.dumps(given)
    return subprocess.run(
        argv, input=text, capture_output=True, check=False, encoding="utf-8", timeout=timeout, cwd=cwd
    )


def ask_python(program: str, given: object) -> Any:
    """Ask a program in Python, with the extra ``docs``.

    :param program: its text
    :returns: what it prints, as JSON
    """
    return _printed(run([tool("python"), "-c", program], given))


def ask_node(program: str, package: str, given: object) -> Any:
    """Ask a program in JavaScript; the test is skipped without the package that it needs.

    :param program: its text
    :returns: what it prints, as JSON
    """
    node = shutil.which("node")
    if node is None:
        raise SkipTest("Node is not installed")
    if run([node, "-e", f"require.resolve({package!r})"]).returncode:
        raise SkipTest(f"{package} is not installed: set NODE_PATH to the node_modules folder that holds it")
    return _printed(run([node, "-e", program], given))


def _printed(ran: subprocess.CompletedProcess[str]) -> Any:
    assert not ran.returncode, ran.stdout + ran.stderr
    return json.loads(ran.stdout)
