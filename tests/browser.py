"""A real Chromium without a window, for tests of pages; it is told to reach no network."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

Driver = webdriver.Chrome

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextmanager
def chromium(profile: Path, *, scripts: bool = True) -> Iterator[Driver]:
    """Start Chromium with an empty profile; skip the test where there is none."""
    browser = shutil.which("chromium")
    server = shutil.which("chromedriver")
    if browser is None or server is None:
        pytest.skip("chromium and chromedriver are not on the PATH (Debian: chromium-driver)")
    options = Options()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if not scripts:
        options.add_experimental_option(
            "prefs", {"profile.managed_default_content_settings.javascript": 2}
        )
    driver = webdriver.Chrome(options=options, service=Service(executable_path=server))
    try:
        yield driver
    finally:
        driver.quit()


def dressed(driver: Driver, *, scheme: str = "light", media: str = "") -> None:
    """Have the page shown as to somebody who prefers a colour scheme, or as it is printed."""
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )


def sized(driver: Driver, width: int, height: int) -> None:
    """Have the page laid out for a screen of this size, in CSS pixels."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def complaints(driver: Driver) -> list[str]:
    """Return what the console has said since the last call: errors, violations, the rest."""
    return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]


def requested(driver: Driver) -> set[str]:
    """Return the addresses that pages have asked for since this was last called."""
    messages: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"]
        for entry in driver.get_log("performance")  # type: ignore[no-untyped-call]
    ]
    return {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
