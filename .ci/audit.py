#!/usr/bin/env python3
"""Are there advisories about what is installed? Are there releases that were taken back?

Usage: ``.ci/audit.py PYTHON…``, each the Python of a virtual environment. It needs ``packaging``, and ``pip-audit``
beside the Python that runs it.

1. ``pip check`` in each environment.
2. The package index, as pip is configured: is one of the releases yanked (PEP 592), or gone?
3. ``pip-audit`` about exactly these releases. Where its service cannot be asked, or does not know all of them, that is
   said, and ``.ci/advisories.toml``, which is dated and never complete, is asked in its place.

Exit status 1 if anything was found that ``[[ignored]]`` in that file does not name with a reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ADVISORIES = Path(__file__).with_name("advisories.toml")
#: What comes with each virtual environment, and is neither ours nor needed at run time.
OF_THE_ENVIRONMENT = frozenset({"pip", "setuptools", "wheel"})
#: Seconds for each question to a network.
PATIENCE = 120

_LIST = """
import importlib.metadata, json
found = [(d.metadata["Name"], d.version, d.read_text("direct_url.json") is not None)
         for d in importlib.metadata.distributions()]
print(json.dumps(found))
"""
_YANKED = re.compile(r"yanked version: '?([\w.-]+)'? candidate \(version ([^\s)]+)")
#: An index that cannot be reached has no version of anything.
_GONE = re.compile(r"satisfies the requirement ([\w.-]+==\S+) \(from versions: (?!none\))")


@dataclass(frozen=True, order=True)
class Release:
    """A release that is installed.

    :param name: in its canonical form
    :param version: as its metadata says
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, order=True)
class Finding:
    """An advisory about a release that is installed.

    :param release: what is installed
    :param ids: all names of the advisory
    :param what: what is wrong, and with which versions
    """

    release: Release
    ids: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"{self.release}: {', '.join(self.ids)}: {self.what}"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """:returns: what a program said, within :data:`PATIENCE`; without an answer it failed"""
    try:
        return subprocess.run(  # nosec B603  # words of ours, and a file that we wrote
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def installed(python: str) -> list[Release]:
    """:returns: what is installed in an environment, from an index

    :raises RuntimeError: if that cannot be found out
    """
    # Isolated: what a build left in the working directory is not installed.
    answer = run(python, "-I", "-c", _LIST)
    if answer.returncode:
        raise RuntimeError(f"{python}: {answer.stderr.strip()}")
    releases = [(canonicalize_name(name), version, ours) for name, version, ours in json.loads(answer.stdout)]
    return sorted(
        {Release(name, version) for name, version, ours in releases if not ours and name not in OF_THE_ENVIRONMENT}
    )


def batches(sets: Iterable[Sequence[Release]]) -> list[list[Release]]:
    """:returns: every release once, in lists that name no package twice, as pip wants it"""
    seen: set[Release] = set()
    found = []
    for releases in sets:
        batch = [release for release in releases if release not in seen]
        seen.update(batch)
        if batch:
            found.append(batch)
    return found


def taken_back(said: str) -> list[str]:
    """:returns: which releases the index has taken back, or has no more, by what pip says"""
    yanked = [f"{name}=={version}: yanked" for name, version in _YANKED.findall(said)]
    return yanked + [f"{release}: not in the index" for release in _GONE.findall(said)]


def known(releases: Iterable[Release], advisories: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """:returns: which of some advisories concern some releases

    :raises ValueError: if a version or a range cannot be read: then nothing is known of it
    """
    by_package: dict[str, list[Mapping[str, Any]]] = {}
    for advisory in advisories:
        by_package.setdefault(canonicalize_name(advisory["package"]), []).append(advisory)
    return [
        Finding(release, (advisory["id"],), f"{advisory['what']} ({advisory['affected']})")
        for release in releases
        for advisory in by_package.get(release.name, ())
        if SpecifierSet(advisory["affected"]).contains(Version(release.version), prereleases=True)
    ]


def service_findings(said: str, releases: Sequence[Release]) -> list[Finding] | None:
    """Read what pip-audit said.

    :param said: its JSON
    :param releases: which it was asked about
    :returns: :data:`None` if it cannot say of each of them whether there are advisories
    """
    try:
        dependencies = json.loads(said)["dependencies"]
        answered = {
            Release(canonicalize_name(one["name"]), one["version"]): one["vulns"]
            for one in dependencies
            if "vulns" in one
        }
    except (ValueError, KeyError, TypeError):
        return None
    if not set(releases) <= set(answered):
        return None
    return [
        Finding(release, (one["id"], *one["aliases"]), f"fixed in {', '.join(one['fix_versions']) or 'no version yet'}")
        for release, vulnerabilities in answered.items()
        for one in vulnerabilities
    ]


def unexcused(findings: Iterable[Finding], ignored: Iterable[Mapping[str, Any]], today: date) -> list[Finding]:
    """:returns: the findings for which there is no reason to ignore them, or none that still holds"""
    excused = {one["id"] for one in ignored if one["reason"].strip() and one["until"] >= today}
    return [finding for finding in findings if excused.isdisjoint(finding.ids)]


def ask_service(batch: Sequence[Release], listed: str) -> list[Finding] | None:
    """:returns: what pip-audit finds; :data:`None` if it cannot say"""
    command = ("pip_audit", "--requirement", listed, "--no-deps", "--disable-pip", "--format", "json")
    answer = run(sys.executable, "-m", *command, "--progress-spinner", "off")
    return service_findings(answer.stdout, batch)


def ask_index(listed: str) -> list[str] | None:
    """:returns: which releases were taken back; :data:`None` if the index cannot say"""
    answer = run(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "-r", listed)
    found = taken_back(answer.stdout + answer.stderr)
    return None if answer.returncode and not found else found


def audit(pythons: Sequence[str], say: Any = print) -> bool:
    """:returns: whether nothing was found in some environments"""
    table = tomllib.loads(ADVISORIES.read_text(encoding="utf-8"))
    today = datetime.now(UTC).date()
    good = True
    for python in pythons:
        check = run(python, "-m", "pip", "check")
        say(f"pip check, {python}: {check.stdout.strip() or check.stderr.strip()}")
        good = good and not check.returncode
    for batch in batches(installed(python) for python in pythons):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("".join(f"{release}\n" for release in batch))
            listed.flush()
            back, findings = ask_index(listed.name), ask_service(batch, listed.name)
        if back is None:
            say("NOT ASKED: the package index cannot be reached; whether a release was taken back is not known")
        for line in back or ():
            say(f"FOUND: {line}")
            good = False
        if findings is None:
            say(
                "NOT ASKED: pip-audit's service cannot be reached, or does not know all releases. In its place: "
                f"{len(table['advisory'])} advisories, put together on {table['written']}, not complete"
            )
            findings = known(batch, table["advisory"])
        for finding in unexcused(findings, table.get("ignored", ()), today):
            say(f"FOUND: {finding}")
            good = False
        say(f"{len(batch)} releases looked at")
    return good


if __name__ == "__main__":
    sys.exit(0 if audit(sys.argv[1:]) else 1)
