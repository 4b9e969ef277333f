"""``.ci/audit.py``: advisories about what is installed, and releases that were taken back."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.processes import ROOT


def load() -> ModuleType:
    """:returns: the script, which is in no package, as a module"""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for it.
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


class AuditTestCase(SynchronousTestCase):
    """With the script, and without a network."""

    def setUp(self) -> None:
        """Load it."""
        self.audit: Any = load()
        self.addCleanup(sys.modules.pop, "audit")
        self.table = tomllib.loads(self.audit.ADVISORIES.read_text(encoding="utf-8"))

    def release(self, text: str) -> Any:
        """:returns: a release"""
        name, _, version = text.partition("==")
        return self.audit.Release(name, version)


class AdvisoriesTests(AuditTestCase):
    """The list that is asked where no service can be."""

    def test_entries(self) -> None:
        """Each can be read and says what is wrong; those that are ignored say why, and until when."""
        self.assertIsInstance(self.table["written"], date)
        ids = [one["id"] for one in self.table["advisory"]]
        self.assertEqual(len(ids), len(set(ids)))
        for one in self.table["advisory"]:
            self.assertEqual(set(one), {"id", "package", "affected", "what"}, one)
            self.assertEqual(one["package"], canonicalize_name(one["package"]))
            self.assertTrue(len(SpecifierSet(one["affected"])), one)
            self.assertRegex(one["id"], r"^(CVE-\d{4}-\d{4,}|GHSA(-\w{4}){3}|PYSEC-\d{4}-\d+)$")
        for one in self.table.get("ignored", ()):
            self.assertIsInstance(one["until"], date)
            self.assertGreater(len(one["reason"]), 20)

    def test_versions(self) -> None:
        """Those within a range are found, those outside are not, nor other packages."""
        for text, found in (
            ("twisted==24.3.0", ["CVE-2024-41671", "CVE-2024-41810"]),
            ("twisted==24.7.0", []),
            ("cryptography==44.0.0", ["CVE-2024-12797", "CVE-2026-26007", "CVE-2026-34073"]),
            ("cryptography==50.0.0", []),
            ("treq==24.3.0", []),
        ):
            findings = self.audit.known([self.release(text)], self.table["advisory"])
            self.assertEqual([finding.ids[0] for finding in findings], found, text)

    def test_exceptions(self) -> None:
        """They hold by any of the advisory's names, with a reason, and until a day."""
        finding = self.audit.Finding(self.release("a==1"), ("PYSEC-1", "CVE-1"), "x")
        day = date(2027, 1, 1)
        for ignored, left in (
            ({"id": "CVE-1", "reason": "not used", "until": day}, []),
            ({"id": "PYSEC-1", "reason": "not used", "until": day}, []),
            ({"id": "CVE-2", "reason": "not used", "until": day}, [finding]),
            ({"id": "CVE-1", "reason": " ", "until": day}, [finding]),
            ({"id": "CVE-1", "reason": "not used", "until": date(2026, 12, 31)}, [finding]),
        ):
            self.assertEqual(self.audit.unexcused([finding], [ignored], day), left, ignored)


class AnswersTests(AuditTestCase):
    """What pip and pip-audit say."""

    def test_pip_audit(self) -> None:
        """Nothing, something, and that it cannot say: then it has not been asked."""
        asked = [self.release("a==1"), self.release("b-c==2")]
        fine = {"name": "a", "version": "1", "vulns": []}
        bad = {
            "name": "B.c",
            "version": "2",
            "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": ["CVE-1"], "description": "x"}],
        }
        skipped = {"name": "b-c", "skip_reason": "Dependency not found on PyPI"}

        def said(*dependencies: object) -> Any:
            return self.audit.service_findings(json.dumps({"dependencies": dependencies, "fixes": []}), asked)

        (finding,) = said(fine, bad)
        self.assertEqual((str(finding.release), finding.ids), ("b-c==2", ("PYSEC-1", "CVE-1")))
        self.assertEqual(said(fine, {**bad, "vulns": []}), [])
        for answer in ((fine, skipped), (fine,), ()):
            self.assertIsNone(said(*answer))
        for text in ("", "no network", "[]", "{}", '{"dependencies": [{}]}'):
            self.assertIsNone(self.audit.service_findings(text, asked), text)

    def test_index(self) -> None:
        """Releases that were yanked, or are gone; not those of which an unreachable index has none."""
        yanked = (
            "WARNING: The candidate selected for download or install is a yanked version: 'attrs' candidate (version "
            "21.1.0 at https://index.example/attrs-21.1.0-py2.py3-none-any.whl)\nReason for being yanked: Python 3.4."
        )
        gone = "ERROR: Could not find a version that satisfies the requirement idna==99.0 (from versions: 0.2, 3.20)"
        unreachable = "ERROR: Could not find a version that satisfies the requirement idna==99.0 (from versions: none)"
        self.assertEqual(self.audit.taken_back(yanked), ["attrs==21.1.0: yanked"])
        self.assertEqual(self.audit.taken_back(gone), ["idna==99.0: not in the index"])
        self.assertEqual(self.audit.taken_back(unreachable), [])
        self.assertEqual(self.audit.taken_back("Would install idna-3.20"), [])

    def test_batches(self) -> None:
        """Each release once, and no list with two versions of a package."""
        one, two, three = self.release("a==1"), self.release("a==2"), self.release("b==1")
        self.assertEqual(self.audit.batches([[one, three], [two, three], [one]]), [[one, three], [two]])


class WholeTests(AuditTestCase):
    """From the environments to the verdict."""

    def verdict(self, installed: list[list[object]], **answers: tuple[int, str]) -> tuple[bool, str]:
        """Audit an environment.

        :param installed: name, version, and whether it is ours, of each
        :param answers: status and output of ``index`` and ``service``, which cannot be reached without
        """

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            if "-c" in command:
                return subprocess.CompletedProcess(command, 0, json.dumps(installed), "")
            if "check" in command:
                return subprocess.CompletedProcess(command, 0, "No broken requirements found.", "")
            status, text = answers.get("service" if "pip_audit" in command else "index", (1, ""))
            return subprocess.CompletedProcess(command, status, text, "")

        self.patch(self.audit, "run", run)
        lines: list[str] = []
        return self.audit.audit(["python"], lines.append), "\n".join(lines)

    def test_a_planted_version(self) -> None:
        """It fails, with no service and with one; what is not asked is said."""
        good, said = self.verdict([["Twisted", "24.3.0", False], ["idna", "3.20", False]])
        self.assertFalse(good)
        self.assertIn("FOUND: twisted==24.3.0: CVE-2024-41671", said)
        self.assertEqual(said.count("NOT ASKED"), 2)
        vulnerable = [{"id": "PYSEC-9", "fix_versions": [], "aliases": [], "description": ""}]
        answer = json.dumps({"dependencies": [{"name": "idna", "version": "3.20", "vulns": vulnerable}]})
        good, said = self.verdict([["idna", "3.20", False]], service=(1, answer), index=(0, ""))
        self.assertFalse(good)
        self.assertIn("FOUND: idna==3.20: PYSEC-9: fixed in no version yet", said)
        self.assertNotIn("NOT ASKED", said)

    def test_a_planted_yank(self) -> None:
        """It fails."""
        yanked = "yanked version: 'idna' candidate (version 3.20 at x)"
        good, said = self.verdict([["idna", "3.20", False]], index=(0, yanked))
        self.assertFalse(good)
        self.assertIn("FOUND: idna==3.20: yanked", said)

    def test_nothing_found(self) -> None:
        """It is good, though it was not asked; what is ours, and pip itself, is not looked for."""
        good, said = self.verdict([["idna", "3.20", False], ["wsaas", "0.1.0", True], ["pip", "1.0", False]])
        self.assertTrue(good)
        self.assertIn("1 releases looked at", said)

    def test_a_service_that_knows_nothing(self) -> None:
        """That is no clean bill: pip-audit says so with status 0."""
        answer = json.dumps({"dependencies": [{"name": "twisted", "skip_reason": "not found"}], "fixes": []})
        good, said = self.verdict([["twisted", "24.3.0", False]], service=(0, answer), index=(0, ""))
        self.assertFalse(good)
        self.assertIn("NOT ASKED: pip-audit", said)


class EnvironmentTests(TestCase):
    """What these tests run with."""

    def test_what_a_build_left_behind(self) -> None:
        """It lies in the working directory, looks like a package, and no index knows it."""
        audit: Any = load()
        self.addCleanup(sys.modules.pop, "audit")
        folder = Path(self.mktemp())
        left = folder / "leftover.egg-info"
        left.mkdir(parents=True)
        (left / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: leftover\nVersion: 1.0\n")
        here = Path.cwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, here)
        self.assertNotIn("leftover", {release.name for release in audit.installed(sys.executable)})

    def test_installed(self) -> None:
        """The script can tell what is installed; the list has nothing against it."""
        audit: Any = load()
        self.addCleanup(sys.modules.pop, "audit")
        releases = audit.installed(sys.executable)
        self.assertIn("twisted", {release.name for release in releases})
        self.assertNotIn("wsaas", {release.name for release in releases})
        table = tomllib.loads(audit.ADVISORIES.read_text(encoding="utf-8"))
        findings = audit.known(releases, table["advisory"])
        self.assertEqual(audit.unexcused(findings, table.get("ignored", ()), date.min), [])
