"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SECONDS = 90  # to wait for what takes one or two: the machine may be busy

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
expect.set_options(timeout=1000 * SECONDS)


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def page_server(runs, cwd):
    """`keras-vae app` on a folder of runs; the address."""
    port = free_port()
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-m", "keras_vae.cli", "app", "--no-browser", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    log = (cwd / "app.log").open("wb")
    process = subprocess.Popen(
        [*command, "--runs", str(runs)], cwd=cwd, env=environment, stdout=log, stderr=log
    )
    address = f"http://localhost:{port}"
    try:
        wait_until(lambda: answers(address) or process.poll() is not None)
        assert process.poll() is None, (cwd / "app.log").read_text()
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            log.close()
    said = (cwd / "app.log").read_text()
    assert "Traceback" not in said, said[-3000:]


def answers(address):
    try:
        return urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).status == 200
    except OSError:
        return False


def wait_until(condition, seconds=SECONDS):
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@contextlib.contextmanager
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def visit(browser, address, view, size="desktop", scheme="light") -> Page:
    """A new visitor on a page, once it is drawn."""
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(1000 * SECONDS)
    page.goto(f"{address}/{view}")
    settled(page)
    return page


def settled(page):
    """Waits until the page has been run to its end."""
    page.wait_for_selector("h1")
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=stStatusWidget]')"
        " && document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
    )


def no_error(page):
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def fits(page):
    """Nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def said(page, pattern):
    return re.search(pattern, page.inner_text("body"))
