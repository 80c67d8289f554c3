"""The report page in a real browser: nothing is loaded, everything can be reached, on a desktop and on a phone."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from test_report import CLASS_NAMES, METRICS, NASTY, make_records, sources, truth_of  # noqa: F401  # one is the fixture

from weakseg.files.archives import write_arrays, write_images
from weakseg.files.class_names import write_class_names
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import read_manifest, write_manifest
from weakseg.files.tables import write_json, write_table
from weakseg.report.write import ReportSources, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"desktop": (1400, 900), "phone": (390, 844)}

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
    assert captions.all_inner_texts() == ["photo", "ground truth", "prediction", "with CRF", "errors"]
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
    assert page.inner_text("#large-title").startswith("errors: ")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#large-title").endswith("photo_5")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Enlarge: photo of photo_4"
    page.close()


# --- two experiments ------------------------------------------------------------------------------------------------


@pytest.fixture
def compared(sources: ReportSources, tmp_path: Path) -> str:  # noqa: F811
    """`sec` is right everywhere, `full` calls everything background; two runs' curves, and mIoU while training."""
    val = read_manifest(sources.manifest, "val")
    for name in ("raw/full.zip", "masks/full.zip"):
        write_images(tmp_path / name, ((record.image_id, label_image(0 * truth_of(record))) for record in val))
    write_json(
        tmp_path / "metrics/full.json", {**METRICS, "miou_crf": 13.0, "iou_crf": {"background": 89.9, "cat & dog": 5.0}}
    )
    confusion = np.array([[5, 0, 0], [3, 0, 0], [0, 0, 0]])
    write_arrays(tmp_path / "evaluation/full.npz", [("raw/confusion", confusion), ("crf/confusion", confusion)])
    rows = [{"step": step, "loss": 9 / step} for step in range(1, 5)]
    write_table(tmp_path / "metrics/training/segmenter-full.csv", rows, ["step", "loss"])
    looks = [(f"{step:08d}/{record.image_id}", truth_of(record) % 255) for step in (4, 8) for record in val[:2]]
    write_images(tmp_path / "progress/sec.zip", ((name, label_image(mask)) for name, mask in looks))
    write_report(tmp_path / "report", replace(sources, progress=tmp_path / "progress"))
    return (tmp_path / "report" / "index.html").as_uri()


CANVAS = """canvas => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const at = (x, y) => [...data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 4)];
  return [at(0, 0), at(canvas.width - 1, 0), at(0, canvas.height - 1)];
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_two_experiments_side_by_side_with_their_errors(browser: Browser, compared: str, width: str) -> None:
    page, told = opened(browser, compared, width)
    page.select_option("#other", "full")
    card = page.locator("#cards article").first
    captions = card.locator("figcaption").all_inner_texts()
    assert captions == ["photo", "ground truth", "sec", "full", "errors of sec", "errors of full", "who is wrong"]
    legend = page.locator("#error-legend li").all_inner_texts()
    assert legend == ["sec is wrong", "full is wrong", "both are wrong"]
    maps = card.locator("canvas")
    maps.nth(2).wait_for(state="attached")
    nothing = [0, 0, 0, 0]
    of_sec, of_full, who = (maps.nth(index).evaluate(CANVAS) for index in range(3))
    assert of_sec == [nothing] * 3
    left, right, ignored = of_full  # the left half is the photo's class, the right background, the bottom row ignored
    assert left[3] == 255 and right == ignored == nothing
    assert who == [[0, 90, 200, 255], nothing, nothing]
    rows = page.locator("#differences tbody tr").all_inner_texts()
    assert rows[0].split() == ["mean", "43.0", "13.0", "−30.0"]
    assert rows[1].split() == ["background", "79.9", "89.9", "+10.0"]
    assert NASTY in rows[3] and rows[3].split()[-1] == "–"
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width][0]
    assert told == [compared]
    page.close()


def test_a_click_in_the_confusion_matrix_shows_its_photos(browser: Browser, compared: str) -> None:
    page, told = opened(browser, compared)
    page.select_option("#compare-b", "full")
    assert page.locator("#matrices table").count() == 2
    page.locator("#matrices figure").nth(1).locator("[data-cell='1-0']").click()
    assert shown_ids(page) == ["photo_4", "photo_6"]  # whose class is 1
    assert page.input_value("#experiment") == "full"
    assert "cat & dog that full took for background" in page.inner_text("#uncell")
    page.click("#uncell")
    assert len(shown_ids(page)) == 4
    first = page.locator("#matrices table").first.locator("button").first
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert shown_ids(page) == ["photo_4", "photo_6"]
    assert told == [compared]
    page.close()


def test_a_link_shows_the_same_again(browser: Browser, compared: str) -> None:
    page, _ = opened(browser, compared)
    page.select_option("#other", "full")
    page.select_option("#class", "1")
    page.select_option("#order", "best")
    page.fill("#search", "photo_6 dog")
    page.get_by_label("Enlarge: full of photo_6").click()
    page.keyboard.press("ArrowRight")
    title = page.inner_text("#large-title")
    assert title.startswith("errors of sec: ")
    again, told = opened(browser, page.url)
    assert again.inner_text("#large-title") == title
    again.keyboard.press("Escape")
    assert shown_ids(again) == ["photo_6"]
    assert [again.input_value(f"#{name}") for name in ("other", "class", "order", "search")] == [
        "full",
        "1",
        "best",
        "photo_6 dog",
    ]
    assert told == [compared]
    page.close()
    again.close()


def test_an_address_with_nonsense_is_harmless(browser: Browser, compared: str) -> None:
    address = (
        f"{compared}#a=%3Cimg%20onerror%3D1%3E&b=..&cell=x&photo=none&term=constructor&smooth=a&runs=9%20x&at=%22%3E"
    )
    page, told = opened(browser, address)
    assert page.input_value("#experiment") == "sec" and page.inner_text("#count") == "No photo fits these filters."
    assert told == [compared]
    page.close()


def test_curves_of_all_runs_lie_over_each_other_and_none_is_clipped(browser: Browser, compared: str) -> None:
    page, told = opened(browser, compared)
    lines = page.locator("#loss-plot .line")
    assert lines.count() == 2 and page.locator("#loss-plot .raw").count() == 2
    assert page.locator("#validation-plot circle").count() == 2
    inside = page.evaluate("""[...document.querySelectorAll('#loss-plot path')].every(path => {
      const [box, all] = [path.getBBox(), path.ownerSVGElement.viewBox.baseVal];
      return box.y >= 0 && box.y + box.height <= all.height && box.x >= 0 && box.x + box.width <= all.width;
    })""")
    assert inside
    page.select_option("#term", "seed")  # a loss term of sec alone
    assert lines.count() == 1
    page.select_option("#term", "loss")
    page.get_by_role("checkbox", name="segmenter-full").uncheck()
    assert lines.count() == 1
    page.get_by_role("checkbox", name="segmenter-sec").uncheck()
    assert page.locator("#validation-plot circle").count() == 0  # of sec alone
    page.get_by_role("checkbox", name="segmenter-sec").check()
    page.focus("#smoothing")
    page.keyboard.press("Home")
    assert page.locator("#loss-plot .raw").count() == 0
    assert told == [compared]
    page.close()


# --- many photos, and one's own --------------------------------------------------------------------------------------


def test_of_very_many_photos_only_those_near_the_screen_are_elements(browser: Browser, tmp_path: Path) -> None:
    records = make_records(tmp_path, per_split=150)
    write_manifest(tmp_path / "manifest.csv", records)
    write_class_names(tmp_path / "classes.txt", CLASS_NAMES)
    write_report(tmp_path / "report", ReportSources(tmp_path / "manifest.csv", tmp_path / "classes.txt", ("sec",)))
    page, told = opened(browser, (tmp_path / "report" / "index.html").as_uri())
    assert page.inner_text("#count") == "150 photos"
    assert shown_ids(page)[0] == "photo_150" and len(shown_ids(page)) < 100
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.get_by_text("photo_299 · val").wait_for()
    assert len(shown_ids(page)) < 100 and "photo_150" not in shown_ids(page)
    page.fill("#search", "299")
    assert shown_ids(page) == ["photo_299"]
    assert page.inner_text("#count") == "1 of 150 photos"
    assert len(told) == 1
    page.close()


def test_photos_of_ones_own_come_first_with_their_predictions(
    browser: Browser,
    sources: ReportSources,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Photos of split `test`, none with a mask: nothing is measured, and nothing empty is shown."""
    own = [
        replace(record, split="test" if record.split == "val" else "train")
        for record in read_manifest(sources.manifest)
    ]
    write_manifest(sources.manifest, own)
    write_images(tmp_path / "truth.zip", [])
    write_images(tmp_path / "masks/full.zip", ((one.image_id, label_image(0 * truth_of(one))) for one in own[4:]))
    write_arrays(
        tmp_path / "evaluation/sec.npz", [(f"{kind}/confusion", np.zeros((3, 3), int)) for kind in ("raw", "crf")]
    )
    nothing = dict.fromkeys(("miou", "miou_crf", "percent_of_full"))
    write_json(tmp_path / "metrics/sec.json", {**METRICS, **nothing, "images_with_ground_truth": 0})
    write_json(tmp_path / "metrics/summary.json", {"sec": nothing, "full": nothing})
    write_report(tmp_path / "report", sources)
    assert (tmp_path / "report/table.txt").read_text().startswith("Nothing was measured")
    page, _ = opened(browser, (tmp_path / "report" / "index.html").as_uri())
    titles = page.locator("main h2").all_inner_texts()
    assert titles[0] == "Photos and predictions" and not {"Results", "Confusion", "IoU by class"} & set(titles)
    assert shown_ids(page) == [f"photo_{index}" for index in range(4, 8)]
    captions = page.locator("#cards article").first.locator("figcaption").all_inner_texts()
    assert captions == ["photo", "prediction", "with CRF"]
    assert page.locator("#error-legend li").count() == 0  # nobody knows what is wrong
    assert page.locator("#order option").all_inner_texts() == ["as listed", "random"]
    page.select_option("#other", "full")
    assert page.locator("#error-legend li").all_inner_texts() == ["where they differ"]
    page.select_option("#split", "train")  # of which there are no predictions
    assert page.locator("#error-legend li").count() == 0
    assert not list((tmp_path / "report").glob("confusion_*"))
    page.close()
