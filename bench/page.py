"""The figures in a page of the documentation: written between two comments, so that they can be written anew."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench.programs import BenchError

BEGIN = ".. The part down to the next such comment is written by: python -m bench"
END = ".. end of figures"


def write_page(page: Path, text: str, plots: Sequence[Path]) -> None:
    """
    Put figures into a page of reStructuredText.

    :param page: has the two comments, each at the beginning of a line.
    :param text: what the command printed.
    :param plots: SVG files, shown above the text.
    :raises BenchError: the page has no place for them.
    """
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    comment, _, old = rest.partition("\n")
    _, end, after = old.rpartition(END)
    if not begin or not end:
        raise BenchError(f"{page} has no place for figures")
    images = "".join(f".. image:: {_relative(plot, page)}\n   :alt: {plot.stem}\n\n" for plot in plots)
    literal = textwrap.indent(text.strip(), "   ")
    page.write_text(f"{before}{begin}{comment}\n\n{images}::\n\n{literal}\n\n{end}{after}", "utf-8")


def _relative(plot: Path, page: Path) -> str:
    return Path(os.path.relpath(plot, page.parent)).as_posix()
