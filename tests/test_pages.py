"""The built pages in a browser: links, images, the search, no errors on the console.

Needs the result of `make docs`, and Chromium with its driver.
"""

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag

import pytest

PAGES = Path(__file__).resolve().parent.parent / "docs" / "_build" / "html"
TOOLS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}

pytest.importorskip("selenium")
pytestmark = pytest.mark.skipif(
    not (PAGES / "index.html").exists() or not all(TOOLS.values()),
    reason="needs `make docs`, chromium and chromedriver",
)


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = TOOLS["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options=options, service=ChromeService(TOOLS["chromedriver"])) as chrome:
        chrome.set_window_size(1280, 900)
        yield chrome


@pytest.fixture(scope="module")
def site():
    """The address of a server for the pages: browsers block requests from files."""

    class SilentHandler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=PAGES)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def links_of(browser):
    """Addresses of the links of a page, as the browser resolves them."""
    return browser.execute_script("return Array.from(document.links, link => link.href)")


def console_errors(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_every_internal_link_and_image_exists(browser, site):
    pending, seen, broken = [site + "index.html"], {}, []
    while pending:
        page = pending.pop()
        browser.get(page)
        assert console_errors(browser) == [], page
        seen[page] = set(
            browser.execute_script(
                "return Array.from(document.querySelectorAll('[id]'), e => e.id)"
            )
        )
        missing = browser.execute_script(
            "return Array.from(document.images).filter(i => !i.naturalWidth).map(i => i.src)"
        )
        assert missing == [], page
        for link in links_of(browser):
            address, _ = urldefrag(link)
            if not address.startswith(site) or address in seen:
                continue
            if not (PAGES / unquote(address.removeprefix(site))).is_file():
                broken.append((page, link))
            elif address.endswith(".html") and address not in pending:
                pending.append(address)
    assert broken == []
    assert len(seen) > 20
    for page in list(seen):
        browser.get(page)
        for address, anchor in map(urldefrag, links_of(browser)):
            if address in seen and anchor:
                assert unquote(anchor) in seen[address], f"{page} links to {address}#{anchor}"


def test_the_search_finds_a_class(browser, site):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(site + "search.html?q=DenoisingAutoencoder")
    found = WebDriverWait(browser, 20).until(
        lambda b: b.execute_script(
            "return Array.from(document.querySelectorAll('#search-results a'), a => a.href)"
        )
    )
    assert any("skae.DenoisingAutoencoder.html" in link for link in found)
    assert console_errors(browser) == []
