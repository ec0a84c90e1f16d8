"""The built pages in a browser: links, images, widths, the search, no errors on the console.

`make docs-test` builds the pages and runs these tests; they need Chromium with its driver.
"""

import json
import os
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

PAGES = Path(os.environ.get("SKAE_PAGES", "no such folder"))
TOOLS = {
    "browser": shutil.which("chromium") or shutil.which("google-chrome"),
    "driver": shutil.which("chromedriver"),
}

pytest.importorskip("selenium")
pytestmark = pytest.mark.skipif(
    not (PAGES / "index.html").exists() or not all(TOOLS.values()),
    reason="needs pages in the folder SKAE_PAGES, Chromium or Chrome, and chromedriver",
)

DESKTOP, PHONE = 1400, 390  # widths in pixels
MEASURE = """
const wider = element => element.scrollWidth > element.clientWidth + 1;
const text = element => element.textContent.trim().slice(0, 60);
const sidebars = '.bd-sidebar-primary, .bd-sidebar-secondary';
const visible = element => element.checkVisibility();
const cut = Array.from(document.querySelectorAll('.bd-article pre')).filter(wider);
const isOutput = element =>
    element.closest('.sphx-glr-script-out, .aligned') || element.querySelector('.go');
const tables = Array.from(document.querySelectorAll('.pst-scrollable-table-container'));
const brokenWords = root => {
    const broken = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        const parent = node.parentElement;
        if (parent.closest('pre, script, .math') || !visible(parent)) continue;
        for (const word of node.data.matchAll(/[\\w.(]+/g)) {
            const range = document.createRange();
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const lines = Array.from(range.getClientRects()).filter(line => line.width > 0.5);
            if (new Set(lines.map(line => Math.round(line.top / 4))).size > 1) broken.push(word[0]);
        }
    }
    return broken;
};
return {
    ids: Array.from(document.querySelectorAll('[id]'), e => e.id),
    links: Array.from(document.links, link => link.href),
    missing_images: Array.from(document.images).filter(i => !i.naturalWidth).map(i => i.src),
    overflow: [document.documentElement, document.querySelector('.bd-article-container')].some(
        e => e.scrollWidth > e.clientWidth
    ),
    cut_code: cut.filter(element => !isOutput(element)).map(text),
    without_button: Array.from(document.querySelectorAll('.bd-article .highlight pre')).filter(
        element => !element.parentElement.querySelector('button.copybtn')
    ).map(text),
    cut_output: cut.filter(isOutput).map(text),
    without_hint: cut.concat(tables.filter(wider)).filter(e => !e.closest('.is-wide')).map(text),
    broken_words: Array.from(
        document.querySelectorAll('.bd-article, .bd-sidebar-primary, .bd-sidebar-secondary')
    ).flatMap(brokenWords),
    empty_sidebars: Array.from(document.querySelectorAll(sidebars)).filter(
        bar => bar.checkVisibility() && !Array.from(bar.querySelectorAll('nav a')).some(visible)
    ).map(bar => bar.className),
};
"""


class Page(NamedTuple):
    """What the browser finds on a page."""

    desktop: dict
    phone: dict
    console_errors: list[str]


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = TOOLS["browser"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options=options, service=ChromeService(TOOLS["driver"])) as chrome:
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


def console_errors(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def set_width(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wait_for_frames(browser)


def wait_for_frames(browser):
    """Wait until the page has drawn two frames: after its scripts, and the event `resize`."""
    frames = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
    browser.execute_async_script(frames)


@pytest.fixture(scope="module")
def pages(browser, site):
    """All pages that links lead to from the start page, by their addresses."""
    pending, found = [site + "index.html"], {}
    while pending:
        address = pending.pop()
        set_width(browser, DESKTOP)  # before the page is opened: sidebars change their width slowly
        browser.get(address)
        wait_for_frames(browser)
        desktop = browser.execute_script(MEASURE)
        set_width(browser, PHONE)
        phone = browser.execute_script(MEASURE)
        found[address] = Page(desktop, phone, console_errors(browser))
        linked = {urldefrag(link).url for link in desktop["links"]}
        pending += [
            link
            for link in sorted(linked - found.keys() - set(pending))
            if link.startswith(site) and link.endswith(".html") and file_of(link, site).is_file()
        ]
    return found


def file_of(address, site):
    return PAGES / unquote(urlsplit(address).path).lstrip("/")


def test_links_lead_to_every_page(pages, site):
    on_disk = {path for path in PAGES.rglob("*.html") if "_static" not in path.parts}
    # The execution times of the examples are not part of the contents.
    on_disk = {path for path in on_disk if path.name != "sg_execution_times.html"}
    reached = {file_of(address, site) for address in pages}
    assert on_disk - reached <= {PAGES / "genindex.html", PAGES / "search.html"}


def test_internal_links_lead_to_a_file_and_a_place_in_it(pages, site):
    broken = []
    for address, page in pages.items():
        for link in page.desktop["links"]:
            target, place = urldefrag(link)
            if not target.startswith(site):
                continue
            if not file_of(target, site).is_file() or (
                place and unquote(place) not in pages[target].desktop["ids"]
            ):
                broken.append((address, link))
    assert broken == []


def test_external_links_are_addresses_with_a_host(pages, site):
    links = {link for page in pages.values() for link in page.desktop["links"]}
    for link in sorted(links):
        if not link.startswith(site):
            parts = urlsplit(link)
            assert parts.scheme == "https", link
            assert "." in parts.netloc, link


def test_every_image_is_there(pages):
    missing = {a: page.desktop["missing_images"] for a, page in pages.items()}
    assert {a: images for a, images in missing.items() if images} == {}


def test_no_page_reports_an_error(pages):
    assert {a: page.console_errors for a, page in pages.items() if page.console_errors} == {}


@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_no_page_is_wider_than_the_window(pages, window):
    assert [a for a, page in pages.items() if getattr(page, window)["overflow"]] == []


@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_tables_and_output_that_can_be_scrolled_have_a_hint(pages, window):
    without = {a: getattr(page, window)["without_hint"] for a, page in pages.items()}
    assert {a: elements for a, elements in without.items() if elements} == {}


@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_no_word_is_broken(pages, window):
    broken = {a: getattr(page, window)["broken_words"] for a, page in pages.items()}
    assert {a: words for a, words in broken.items() if words} == {}


@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_no_line_of_code_is_cut_off(pages, window):
    cut = {a: getattr(page, window)["cut_code"] for a, page in pages.items()}
    assert {a: lines for a, lines in cut.items() if lines} == {}


def test_no_output_of_an_example_is_cut_off(pages):
    cut = {a: page.desktop["cut_output"] for a, page in pages.items()}
    assert {a: lines for a, lines in cut.items() if lines} == {}


def test_every_block_of_code_has_a_button_that_copies_it(pages):
    without = {a: page.desktop["without_button"] for a, page in pages.items()}
    assert {a: blocks for a, blocks in without.items() if blocks} == {}


def test_no_sidebar_is_empty(pages):
    empty = {a: page.desktop["empty_sidebars"] for a, page in pages.items()}
    assert {a: bars for a, bars in empty.items() if bars} == {}


def test_every_example_can_be_downloaded_as_a_notebook(pages, site):
    examples = {a: page for a, page in pages.items() if "/gallery/plot_" in a}
    assert examples
    for address, page in examples.items():
        (notebook,) = {link for link in page.desktop["links"] if link.endswith(".ipynb")}
        cells = json.loads(file_of(notebook, site).read_text(encoding="utf-8"))["cells"]
        assert {cell["cell_type"] for cell in cells} == {"code", "markdown"}, address


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
