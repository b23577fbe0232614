"""The page in a headless Chromium: nothing goes wrong, all is to be seen, on a telephone and on a desk, light and dark,
and on paper."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_documents import every_outcome

from verify.report import html

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium (or any other way)"
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
LARGE = 24 * 1024


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def bad_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which much is not as claimed."""
    path = tmp_path_factory.mktemp("bad") / "report.html"
    path.write_text(html.text(every_outcome(), path.parent), encoding="utf-8")
    return path


class Opened:
    """A page with everything that it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, size: dict[str, int], scheme: str) -> None:
        self.context = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
        self.context.set_default_timeout(300_000)  # a busy machine is no failure
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = path.as_uri()
        self.page.goto(self.address)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def everything_open(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_all_is_there_and_nothing_goes_wrong(browser: Any, run_folder: Path, size: dict[str, int]) -> None:
    with Opened(browser, run_folder / "report.html", size, "light") as opened:
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        everything_open(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.title() == "promptcert audit"
        tables = page.locator("table")
        assert tables.count() == 4 + 5  # verdicts, findings, constants, versions; and the cases of five claims
        assert page.get_by_role("table").count() == 9  # also where rows are shown as cards
        figures = page.locator("figure svg")
        assert figures.count() == 4
        for part in [*tables.all(), *figures.all(), *page.locator("h2").all()]:
            assert part.is_visible()
            box = part.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size["width"]
            assert box["height"] > 20
        for figure in figures.all():
            assert figure.bounding_box()["width"] > 250
        assert page.get_by_role("row").filter(has_text="unmemorizable-pair").first.is_visible()
        assert opened.said == []
        assert opened.asked == [opened.address]


def test_a_light_page_and_a_dark_one(browser: Any, run_folder: Path) -> None:
    """The page and its figures change colours, and what is drawn differs from what is behind it in both."""
    seen = {}
    for scheme in ("light", "dark"):
        with Opened(browser, run_folder / "report.html", PHONE, scheme) as opened:
            colours = opened.page.evaluate(
                """() => {
                    const of = (place, name) => getComputedStyle(document.querySelector(place))[name];
                    return [of('body', 'backgroundColor'), of('body', 'color'),
                            of('figure svg [style*="--ink"]', 'fill'), of('figure', 'backgroundColor')];
                }"""
            )
            seen[scheme] = [brightness(colour) for colour in colours]
    paper, ink, drawn, behind = seen["light"]
    assert min(paper, behind) > 0.85
    assert max(ink, drawn) < 0.1
    paper, ink, drawn, behind = seen["dark"]
    assert max(paper, behind) < 0.05
    assert min(ink, drawn) > 0.7


def brightness(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, from 0 to 1."""
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def complaints(page: Any) -> list[str]:
    """The rules of axe that the page breaks. The strokes inside of a figure are taken out before: it is an image with a
    name, and axe would look at each."""
    everything_open(page)
    page.evaluate("document.querySelectorAll('svg.drawing').forEach(drawing => drawing.replaceChildren())")
    found = axe.Axe().run(page)
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found.response["violations"] for node in rule["nodes"]]


@pytest.mark.parametrize(
    ("which", "size", "scheme"),
    [("good", PHONE, "light"), ("good", DESK, "dark"), ("bad", PHONE, "dark"), ("bad", DESK, "light")],
    ids=["good-phone-light", "good-desk-dark", "bad-phone-dark", "bad-desk-light"],
)
def test_axe_has_no_complaints(
    browser: Any, run_folder: Path, bad_page: Path, which: str, size: dict[str, int], scheme: str
) -> None:
    """Contrast of all text, names of figures, headings, tables, landmarks."""
    path = run_folder / "report.html" if which == "good" else bad_page
    with Opened(browser, path, size, scheme) as opened:
        assert complaints(opened.page) == []


def test_axe_complains_when_there_is_reason(browser: Any, bad_page: Path) -> None:
    """Text that is hardly darker than the paper, a figure without a name, a skipped heading."""
    with Opened(browser, bad_page, PHONE, "light") as opened:
        opened.page.add_style_tag(content=":root { --muted: #d8d8d8 }")
        opened.page.evaluate(
            "document.querySelector('main').insertAdjacentHTML('beforeend', '<svg role=img></svg><h6>deep</h6>')"
        )
        rules = {complaint.split(":")[0] for complaint in complaints(opened.page)}
        assert {"color-contrast", "svg-img-alt", "heading-order"} <= rules


def test_what_is_not_as_claimed_is_seen_first(browser: Any, bad_page: Path) -> None:
    with Opened(browser, bad_page, PHONE, "dark") as opened:
        banner = opened.page.locator(".banner")
        assert banner.bounding_box()["y"] < PHONE["height"] / 2
        assert "NOT everything as claimed" in banner.inner_text()
        assert banner.get_by_role("link").count() == 4
        assert opened.page.locator("article.wrong table").first.is_visible()  # open without a click
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_finding_leads_to_its_case(browser: Any, run_folder: Path) -> None:
    """Which stands in a part that is closed until then."""
    with Opened(browser, run_folder / "report.html", DESK, "light") as opened:
        row = opened.page.locator("#case-unmemorizable-pair-cone-d2-mlp2")
        assert not row.is_visible()
        opened.page.locator("#findings a[href='#case-unmemorizable-pair-cone-d2-mlp2']").first.click()
        row.wait_for(state="visible")


def test_on_paper(browser: Any, run_folder: Path) -> None:
    """All tables are printed, those of closed parts too; always in light colours."""
    with Opened(browser, run_folder / "report.html", DESK, "dark") as opened:
        page = opened.page
        page.emulate_media(media="print")
        assert all(table.is_visible() for table in page.locator("table").all())
        assert not page.locator("nav").is_visible()
        assert brightness(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.95
        printed = page.pdf(format="A4")
        assert printed.startswith(b"%PDF-")
        assert len(printed) > LARGE
        assert opened.said == []
