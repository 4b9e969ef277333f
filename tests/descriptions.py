"""Endpoint descriptions of a test's own."""

from __future__ import annotations

import re


def escaped(value: object) -> str:
    """:returns: a path, or whatever else, as it is written in a list of endpoint descriptions"""
    return re.sub(r"([\\:=\s])", r"\\\1", str(value))
