"""Names that are nearly those of settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsaas.settings.names import misnamed, missing, unknown_option
from wsaas.settings.table import SETTINGS


class MisnamedTests(SynchronousTestCase):
    """Names in the environment that are nearly those of settings."""

    def test_nearly_a_setting(self) -> None:
        """A gateway that is open because of an S too many says so."""
        for name, meant in (
            ("PUSH_TOKENS", "PUSH_TOKEN"),
            ("PUSH_TOKENS_FILE", "PUSH_TOKEN_FILE"),
            ("push_token", "PUSH_TOKEN"),
            ("WSAAS_PUSH_TOKEN", "PUSH_TOKEN"),
            ("API_SECRETS", "API_SECRET"),
            ("API_SECRETFILE", "API_SECRET_FILE"),
            ("API_CERT_FILE", "API_CERT"),
            ("WS_ORIGIN", "WS_ORIGINS"),
            ("WS_MAX_PER_ADRESS", "WS_MAX_PER_ADDRESS"),
            ("WS_TIMEOUT_MS", "WS_TIMEOUT"),
        ):
            (said,) = misnamed([name, "API_URI", "PATH"])
            self.assertEqual(said, f"{name} is not a setting. Did you mean {meant}? It has no effect")

    def test_the_setting_is_there(self) -> None:
        """Then the other name belongs to another program."""
        self.assertEqual(
            misnamed(["PUSH_TOKENS", "PUSH_TOKEN", "API_URL", "API_URI", "WS_ORIGINS_FILE", "WS_ORIGINS"]), []
        )

    def test_somebody_elses(self) -> None:
        """Names that other programs, systemd and containers have."""
        others = """
            PATH HOME LANG USER TERM SHELL HOSTNAME PORT HOST API_KEY API_TOKEN API_HOST WS_HOST WS_PORT LOG_FILE
            STATE_DIRECTORY CREDENTIALS_DIRECTORY LISTEN_FDS LISTEN_PID NOTIFY_SOCKET WATCHDOG_USEC INVOCATION_ID
            JOURNAL_STREAM RUNTIME_DIRECTORY LOGS_DIRECTORY PIP_CERT PYTHONPATH NODE_ENV DATABASE_URL GITHUB_TOKEN CI
        """
        self.assertEqual(misnamed([*others.split(), "API_URI"]), [])

    def test_all_settings(self) -> None:
        """None is taken for another."""
        for setting in SETTINGS:
            self.assertEqual(misnamed([setting.name]), [])


class MissingTests(SynchronousTestCase):
    """A setting that has to be there, and is there by another name."""

    def test_near_misses(self) -> None:
        """They are named, even if they are less alike than what would cause a warning."""
        for name in (
            "API_URL",
            "API_URIS",
            "APIURI",
            "api_uri",
            "WSAAS_API_URI",
            "WSAAS_API_URL",
            "API_UR",
            "API_URI_",
        ):
            said = missing("API_URI", {name: "http://x/", "HOME": "/"})
            self.assertEqual(said, f"API_URI is not set; {name} is not a setting. Did you mean API_URI?")

    def test_others(self) -> None:
        """What is empty, another setting, or somebody else's."""
        for given in ({}, {"API_URL": " "}, {"API_CA": "x", "API_CERT": "x"}, {"API_KEY": "x"}, {"URI": "x"}):
            self.assertEqual(missing("API_URI", given), "API_URI is not set")


class UnknownOptionTests(SynchronousTestCase):
    """Options that do not exist."""

    def test_every_option(self) -> None:
        """With a letter too many, one too few, and as the variable is written."""
        for setting in SETTINGS:
            if not setting.secret:
                for option in (f"{setting.option}s", setting.option[:-1], setting.name.lower()[:-1] + "x"):
                    said = unknown_option(option)
                    self.assertEqual(said, f"--{option} is not an option. Did you mean --{setting.option}?")

    def test_what_it_may_be(self) -> None:
        """A near miss, a secret, one of twistd's, or nothing."""
        for option, said in (
            ("api-url", "not an option. Did you mean --api-uri?"),
            ("wsaas-api-uri", "not an option. Did you mean --api-uri?"),
            ("timeout", "not an option. See --help"),
            ("push-token", "not an option: PUSH_TOKEN is set in the environment only"),
            ("api-headers-file", "not an option: API_HEADERS_FILE is set in the environment only"),
            ("logfile", "an option of twistd: it stands before wsaas"),
        ):
            self.assertEqual(unknown_option(option, ["logfile"]), f"--{option} is {said}")
