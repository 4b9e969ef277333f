"""The table of settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsaas.settings.table import SETTINGS


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_options_are_named_after_settings(self) -> None:
        """``API_URI`` is ``--api-uri``."""
        self.assertEqual([setting.option for setting in SETTINGS if setting.name == "API_URI"], ["api-uri"])

    def test_every_default_is_allowed(self) -> None:
        """By its own rule."""
        for setting in SETTINGS:
            if setting.default is not None:
                setting.parse(setting.default)

    def test_every_setting_explains_itself(self) -> None:
        """In --help and in errors."""
        for setting in SETTINGS:
            self.assertTrue(setting.summary and setting.allowed, setting.name)
