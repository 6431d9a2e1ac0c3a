"""The page of `mocanet demo` in a real browser: it answers, follows the slider, and asks
nothing of any other machine. MOCANET_SCREENSHOTS names a folder to leave screenshots in."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.processes import ROOT

HOST, WAIT = "127.0.0.1", 240
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def absent() -> str | None:
    """What is missing for this test, or None."""
    for package in ("gradio", "selenium"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    return None if CHROMIUM and DRIVER else "Chromium or its driver is not installed"


pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(absent() is not None, reason=str(absent())),
]


@pytest.fixture(scope="module")
def address(finished, finished_text, finished_language, tmp_path_factory):
    """Of a page of three tiny models."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    runs = {"workdir": finished_text, "copy": finished, "language": finished_language}
    named = [f"--{flag}={run[0]}" for flag, run in runs.items()]
    command = [sys.executable, "-m", "mocanet_jax.demo", f"--port={port}", *named]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    folder = tmp_path_factory.mktemp("page")
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE) as page:
        for line in page.stdout:
            if b"open http" in line:
                break
        assert page.poll() is None
        yield f"http://{HOST}:{port}"
        page.terminate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, address):
    """The page, opened, with its first answer."""
    browser.get(address)
    return Page(browser)


class Page:
    """What a person does on it."""

    def __init__(self, browser):
        self.browser = browser
        self.until("#answer h3")

    def until(self, selector, of=lambda element: True):
        """The first element of a selector, as soon as there is one with what is wanted."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = [StaleElementReferenceException]
        wait = WebDriverWait(self.browser, WAIT, ignored_exceptions=ignored)
        return wait.until(
            lambda browser: next(
                (e for e in browser.find_elements("css selector", selector) if of(e)), None
            )
        )

    def type(self, selector, text, end=""):
        from selenium.webdriver.common.keys import Keys

        field = self.until(selector)
        field.send_keys(Keys.CONTROL + "a")
        field.send_keys(text + end)

    def click(self, selector):
        self.until(selector, lambda element: element.is_enabled()).click()

    def tab(self, name):
        self.until("button[role=tab]", lambda element: element.text == name).click()

    def numbers(self, place):
        """The numbers of an answer by their names."""
        cells = self.browser.find_elements("css selector", f"{place} .numbers div")
        return {
            cell.find_element("tag name", "span").text: cell.find_element("tag name", "b").text
            for cell in cells
        }

    def picture(self, name):
        if folder := os.environ.get("MOCANET_SCREENSHOTS"):
            self.browser.save_screenshot(str(Path(folder, f"{name}.png")))


def test_a_typed_text_is_answered_and_the_slider_changes_what_it_spends(page):
    """The whole way: browser, server, model and back."""
    page.type("#text textarea", "a dull film")
    page.click("#answer_button")
    page.until("#answer tr td:first-child", lambda word: word.text == "dull")
    words = page.browser.find_elements("css selector", "#answer td:first-child")
    assert [word.text for word in words] == ["a", "dull", "film"]
    assert page.until("#answer h3").text.split(",")[0] in ("negative", "positive")
    before = page.numbers("#answer")
    assert before["of the full compute"] != "0 %"
    page.picture("sentiment")
    highest = page.until("#price input[type=range]").get_attribute("max")
    page.type("#price input[type=number]", highest, "\t")
    page.until("#answer .numbers b", lambda number: number.text == "0 %")
    after = page.numbers("#answer")
    assert float(after["λ, in logits"]) == float(highest)
    page.picture("sentiment_nothing_spent")


def test_a_sequence_is_copied_and_its_pointers_are_drawn(page):
    page.tab("Copy")
    page.type("#sequence input, #sequence textarea", "abc")
    page.click("#copy_button")
    page.until("#copied svg circle")
    assert "of 3 scored symbols correct" in page.until("#copied .note").text
    assert page.numbers("#copied")["of the full compute"] != "0 %"
    page.picture("copy")
    page.until("#copy_price input[type=range]")


def test_a_language_model_writes(page):
    page.tab("Language")
    page.type("#prompt textarea", "the ")
    page.click("#write_button")
    written = page.until(
        "#written textarea", lambda text: len(text.get_property("value")) > 200
    )
    assert written.get_property("value").startswith("the ")
    page.picture("language")


def test_a_narrow_window_cuts_nothing_off(page):
    """On a phone the columns stand below each other; only tables and pictures scroll."""
    page.browser.set_window_size(420, 900)
    try:
        for name in ("Text", "Copy"):
            page.tab(name)
            wide, window = page.browser.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth]"
            )
            assert wide <= window
            page.picture(f"narrow_{name.lower()}")
    finally:
        page.browser.set_window_size(1280, 800)


def test_nothing_is_asked_of_another_machine(page, address):
    """Fonts, scripts or counters from elsewhere fail without a network, and tell somebody
    what is typed. Of all requests of the browser since it started."""
    for name in ("Copy", "Language", "Text"):
        page.tab(name)
    asked = set()
    for entry in page.browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            asked.add(message["params"]["url"])
    schemes = ("http", "https", "ws", "wss")  # others are pages of the browser's own
    places = {part.netloc for part in map(urlsplit, asked) if part.scheme in schemes}
    assert places == {urlsplit(address).netloc}
