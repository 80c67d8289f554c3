"""The report page in a real browser: nothing is loaded, everything can be reached, on a desktop and on a phone."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from test_report import sources  # noqa: F401  # the fixture

from weakseg.report.write import ReportSources, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: `apt-get install chromium` for this test")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium refuses root otherwise
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.fixture
def address(sources: ReportSources, tmp_path: Path) -> str:  # noqa: F811
    write_report(tmp_path / "report", sources)
    return (tmp_path / "report" / "index.html").as_uri()


def opened(browser: Browser, address: str, width: str = "desktop") -> tuple[Page, list[str]]:
    """The page, and a list that fills with whatever goes wrong or is asked of the network."""
    size = WIDTHS[width]
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
    page.set_default_timeout(10_000)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(address)
    return page, told


def shown_ids(page: Page) -> list[str]:
    return [text.split(" · ")[0] for text in page.locator("#cards article > p").all_inner_texts()]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_asks_for_nothing_and_fits_the_screen(browser: Browser, address: str, width: str) -> None:
    page, told = opened(browser, address, width)
    for anchor in ("results", "classes", "training", "supervision", "confusion", "gallery"):
        page.locator(f"#{anchor}").scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width][0]
    assert page.locator("#cards article").count() == 4
    pictures = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)")
    assert pictures and all(pictures)
    smallest = page.evaluate("Math.min(...[...document.querySelectorAll('select,button.plain')].filter(e => "
                             "e.offsetHeight).map(e => e.offsetHeight))")  # fmt: skip
    assert smallest >= 40  # px a finger can hit
    assert told == [address]
    page.close()


def test_filters_and_orders(browser: Browser, address: str) -> None:
    page, told = opened(browser, address)
    val = [f"photo_{index}" for index in range(4, 8)]
    assert shown_ids(page) == val
    page.select_option("#order", "best")
    assert shown_ids(page) == val[::-1]  # the later, the better (see the fixture's evaluation)
    page.select_option("#order", "worst")
    assert shown_ids(page) == val
    page.select_option("#order", "random")
    assert sorted(shown_ids(page)) == val
    page.select_option("#class", "1")
    page.select_option("#order", "given")
    assert shown_ids(page) == ["photo_4", "photo_6"]
    page.select_option("#split", "")
    assert {"photo_4", "photo_6"} < set(shown_ids(page)) <= {f"photo_{index}" for index in (0, 2, 4, 6)}
    assert "photos" in page.inner_text("#count")
    assert told == [address]
    page.close()


def test_layers_of_train_and_val_photos(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    captions = page.locator("#cards article").first.locator("figcaption")
    assert captions.all_inner_texts() == ["photo", "ground truth", "prediction", "with CRF"]
    page.select_option("#split", "train")
    assert captions.all_inner_texts() == ["photo", "ground truth", "cues", "seeds", "saliency", "guide (g2)"]
    page.close()


def test_the_slider_blends_photo_and_mask_by_keyboard(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    mask = page.locator("#cards .mask").first
    opacity = lambda: float(mask.evaluate("element => getComputedStyle(element).opacity"))  # noqa: E731
    assert opacity() == pytest.approx(0.7)
    page.focus("#blend")
    page.keyboard.press("End")
    assert opacity() == pytest.approx(1)
    page.keyboard.press("Home")
    assert opacity() == pytest.approx(0)
    page.keyboard.press("ArrowRight")
    assert opacity() == pytest.approx(0.01)
    page.close()


def test_everything_is_reached_by_keyboard(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the gallery"
    page.keyboard.press("Enter")
    assert page.url.endswith("#gallery")
    focused = []
    for _ in range(12):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    wanted = ["experiment", "split", "class", "order", "blend"]
    assert [name for name in focused if name in wanted] == wanted
    assert "Enlarge: photo of photo_4" in focused

    page.get_by_label("Enlarge: photo of photo_4").focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#large")
    assert dialog.is_visible()
    assert page.inner_text("#large-title").startswith("photo: ")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#large-title").startswith("ground truth: ")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#large-title").startswith("with CRF: ")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Enlarge: photo of photo_4"
    page.close()
