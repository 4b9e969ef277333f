"""The description that a package index shows; everything else is in ``setup.cfg``.

An index shows ``README.rst`` away from its repository, where a link to ``docs/protocol.rst`` leads nowhere. There, each
link of this kind is the name of a file of the source distribution.
"""

import re
from pathlib import Path

from setuptools import setup

_NOTE = """
Names of files, such as ``docs/protocol.rst``, are those of the source distribution.

"""


def described(readme: str) -> str:
    """:returns: the README without its links to files beside it"""

    def named(link: re.Match[str]) -> str:
        text, target = " ".join(link[1].split()), link[2]
        return f"``{target}``" if text == target else f"{text} (``{target}``)"

    text = re.sub(r"(?<!`)`([^`<>]+?)\s*<(?![a-z]+:)([^>\s]+)>`__", named, readme)
    title, _, rest = text.partition("\n\n")
    return f"{title}\n{_NOTE}{rest.lstrip()}"


setup(long_description=described(Path(__file__).with_name("README.rst").read_text(encoding="utf-8")))
