"""Chromium, driven by a test: started without a window, with a profile of its own, and ended with the test."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def start_browser(test: SynchronousTestCase) -> Any:
    """Start it, or skip the test where it is not installed.

    :returns: selenium's driver
    """
    try:
        from selenium import webdriver
    except ImportError:
        raise SkipTest("selenium is not installed") from None
    for program in (CHROMIUM, CHROMEDRIVER):
        if not Path(program).exists():
            raise SkipTest(f"{program} is not installed")
    profile = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, profile, ignore_errors=True)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    test.addCleanup(driver.quit)
    return driver
