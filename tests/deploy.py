"""What the documentation says about deployment, for tests that try it."""

from __future__ import annotations

import re
import textwrap

from tests.processes import ROOT

DEPLOY = (ROOT / "docs/deploy.rst").read_text()


def drop_ins() -> list[str]:
    """:returns: the additions to the unit that make it tighter, in their order"""
    _, _, section = DEPLOY.partition("Tighter, where you can\n---")
    section, _, _ = section.partition("\n====")
    found = re.findall(r"^    \[Service\]\n(?:    \S.*\n)+", section, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]
