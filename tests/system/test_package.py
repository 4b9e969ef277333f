"""What a wheel and a source distribution contain."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes, policy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent


def has_build() -> bool:
    """:returns: whether the package build is installed; a folder of that name would be taken for it by an import"""
    try:
        return bool(version("build"))
    except PackageNotFoundError:
        return False


class DistributionTests(SynchronousTestCase):
    """Both carry all that a running gateway needs, the plugin and the unit files included."""

    if not has_build():
        skip = "build (in the extra 'dev') is not installed"

    def build(self, kind: str) -> Path:
        """Build one distribution, from a copy of what is tracked and what is not ignored."""
        names = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        source, target = Path(self.mktemp()), Path(self.mktemp())
        for name in names:
            if (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes((ROOT / name).read_bytes())
        built = subprocess.run(
            [sys.executable, "-m", "build", f"--{kind}", "--outdir", target.resolve(), source],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(built.returncode, 0, built.stdout + built.stderr)
        (made,) = target.iterdir()
        return made

    def test_wheel(self) -> None:
        """A wheel has the plugin, the command, the page, unit files, dashboard and alerts, and no package "twisted"."""
        with zipfile.ZipFile(self.build("wheel")) as wheel:
            names = set(wheel.namelist())
            [listed] = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
            entry_points = wheel.read(listed).decode()
            [about] = [name for name in names if name.endswith(".dist-info/METADATA")]
            metadata = message_from_bytes(wheel.read(about), policy=policy.default)
        for name in (
            "twisted/plugins/wsaas_plugin.py",
            "wsaas/tap.py",
            "wsaas/py.typed",
            "wsaas/demo/page.html",
            "wsaas/demo/page.css",
            "wsaas/demo/page.js",
        ):
            self.assertIn(name, names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        self.assertFalse([name for name in names if name.startswith("tests/")])
        self.assertIn("wsaas/__main__.py", names)
        self.assertIn("[console_scripts]\nwsaas = wsaas.command.main:main\n", entry_points)
        units = {Path(name).name for name in names if "/share/wsaas/systemd/" in name}
        self.assertEqual(units, {"wsaas.service", "wsaas.socket", "wsaas.env"})
        monitoring = {Path(name).name for name in names if "/share/wsaas/monitoring/" in name}
        self.assertEqual(monitoring, {"alerts.rules.yml", "grafana-dashboard.json"})
        self.assertEqual(metadata["Author"], "WSAAS")
        self.assertEqual([metadata[name] for name in ("Home-page", "Project-URL", "Author-email")], [None] * 3)
        description = metadata.get_payload()
        self.assertIn("docs/protocol.rst", description)
        self.assertEqual(self.lead_nowhere(str(description)), [])

    def lead_nowhere(self, description: str) -> list[str]:
        """:returns: the links of a description that an index, which shows it elsewhere, cannot follow"""
        try:
            from docutils import nodes
            from docutils.core import publish_doctree
        except ImportError:
            raise SkipTest("docutils is not installed") from None
        tree = publish_doctree(description, settings_overrides={"halt_level": 2, "syntax_highlight": "none"})
        links = [link.get("refuri", "") for link in tree.findall(nodes.reference)]
        return [link for link in links if link and not urlsplit(link).scheme]

    def test_source(self) -> None:
        """A source distribution has besides the tests, the documentation and the examples."""
        with tarfile.open(self.build("sdist")) as source:
            names = {name.partition("/")[2] for name in source.getnames()}
        for name in (
            "twisted/plugins/wsaas_plugin.py",
            "wsaas/demo/page.html",
            "systemd/wsaas.service",
            "systemd/wsaas.socket",
            "tests/system/test_package.py",
            "clients/gateway.js",
            "clients/vectors.json",
            "docs/openapi.yaml",
            "docs/protocol.rst",
            "examples/flask/app.py",
            "README.rst",
            "CHANGELOG.rst",
            "LICENSE",
        ):
            self.assertIn(name, names)
