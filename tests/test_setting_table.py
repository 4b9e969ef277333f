"""The table of settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsaas.setting_table import SETTINGS

API = {"API_URI": "localhost:80/websocket"}

#: One value for each setting that cannot be used; API_CA and API_CERT name files.
UNUSABLE = {
    "API_URI": "ftp://localhost/",
    "WS_HOSTNAME": "http://localhost:8080/?x",
    "WS_LISTEN": "8080",
    "PUSH_LISTEN": "udp:8080",
    "ADMIN_LISTEN": "9100",
    "WS_TIMEOUT": "30s",
    "API_TIMEOUT": "0",
    "API_RETRY_FOR": "-1",
    "API_RETRY_STATUS": "401 503",
    "API_DELETE_FOR": "604800001",
    "API_MAX_REQUESTS": "0",
    "API_SECRET": "fifteen letters",
    "API_HEADERS": "Ws-Uri: mine",
    "API_CA": "/nowhere/ca.pem",
    "API_CERT": "/nowhere/cert.pem",
    "API_TEXT_TYPE": "json",
    "FORWARD_HEADERS": "Host",
    "PUSH_TOKEN": "not-ascii-\N{SNOWMAN}",
    "WS_ORIGINS": "example.com",
    "WS_MAX_MESSAGE": "0",
    "WS_MAX_BUFFER": "1",
    "WS_MAX_CONNECTIONS": "0",
    "WS_MAX_PER_ADDRESS": "-1",
    "WS_COMPRESSION": "yes",
    "TRUST_PROXY": "yes",
    "STATE_DIR": "state",
    "DRAIN_TIMEOUT": "-1",
    "FAST_LANES": "maybe",
    "LOG_LEVEL": "LOUD",
    "LOG_FORMAT": "xml",
}


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
