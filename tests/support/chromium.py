"""Headless Chromium with its driver (Debian: chromium, chromium-driver)."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

LOCAL = re.compile(r"(?:https?|wss?)://((?:127\.0\.0\.1|localhost):\d+)")


@contextlib.contextmanager
def chromium_with(*flags: str) -> Iterator[Any]:
    """A browser that finds no host but this one; skips where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    resolver = "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for flag in ("headless", "no-sandbox", "disable-gpu", resolver, *flags):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()


@contextlib.contextmanager
def own_page(browser: Any) -> Iterator[None]:
    """An empty page, which is closed with all that it opened and said."""
    home = browser.current_window_handle
    browser.get_log("browser")  # reading it empties it
    browser.switch_to.new_window("tab")
    try:
        yield
    finally:
        for handle in set(browser.window_handles) - {home}:
            browser.switch_to.window(handle)
            browser.close()
        browser.switch_to.window(home)


def complaints(browser: Any) -> list[str]:
    """Errors in the log since they were last asked for, less those about other servers of this
    machine, which are no business of the page that is shown."""
    own = urlsplit(browser.current_url).netloc
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    return [text for text in errors if set(LOCAL.findall(text)) <= {own}]
