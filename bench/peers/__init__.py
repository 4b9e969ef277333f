"""Configurations of the systems that WSAAS is compared with, and how they are filled in."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def write_configuration(directory: Path, name: str, **values: str | int | Path) -> Path:
    """
    Fill in a configuration.

    :param directory: where it goes; ``@directory@`` in it.
    :param name: its file name, here and there.
    :param values: what replaces each ``@name@``.
    :returns: the file.
    """
    known = {"directory": directory, **values}
    text = Path(__file__).with_name(name).read_text("utf-8")
    file = directory / name
    file.write_text(re.sub(r"@(\w+)@", lambda match: str(known[match[1]]), text), "utf-8")
    return file


def installed_version(package: str) -> str:
    """The version of a Debian package, or ``unknown``."""
    try:
        done = subprocess.run(  # nosec B603 B607  # names of packages that stand in the source
            ["dpkg-query", "--show", "--showformat=${Version}", package],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
