"""A flow in motion, in a browser: it moves by slider, by key and by itself, and stops when asked to."""

from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page
from snf_book.motion import Stage, motion, positions, square_grid

import snf_lite as snf

pytest_plugins = ["browser_fixtures"]

PIXELS = "canvas => canvas.toDataURL()"
AT = "figure => figure.dataset.at"


def figure() -> str:
    """A dense layer that doubles, then one that halves the first coordinate, at two training steps."""
    layers = [snf.ExactLinear(2), snf.ExactLinear(2)]
    layers[0].weight.data, layers[1].weight.data = 2 * torch.eye(2), torch.diag(torch.tensor([0.5, 1.0]))
    points, grid = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), square_grid(5, 2.0)
    moved, lines = positions(layers, points), positions(layers, grid.reshape(-1, 2)).reshape(3, 5, 5, 2)
    stage = Stage(
        torch.stack([moved, -moved]), torch.stack([lines, -lines]), torch.arange(40) % 4,
        ["data", "doubled", "latents"], ["0", "9"],
    )  # fmt: skip
    return motion(stage, name="doubles", alt="Points that move.", caption="They move.").html()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 700, "height": 900})
    page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    page.set_content(f"<!doctype html><html><body>{figure()}</body></html>")
    yield page
    page.close()


def test_a_canvas_takes_the_place_of_the_still(page: Page) -> None:
    assert page.locator("canvas").is_visible() and not page.locator(".snf-frames").is_visible()
    assert page.locator("input[type=range]").count() == 2 and page.locator("button").inner_text() == "Play"


def test_depth_and_training_step_change_the_picture_and_its_words(page: Page) -> None:
    depth, training = page.locator("input").all()
    pictures, words = [page.locator("canvas").evaluate(PIXELS)], [page.locator("output").all_inner_texts()]
    assert words == [["data", "9"]]
    for slider, key in ((depth, "ArrowRight"), (depth, "End"), (training, "Home")):
        slider.press(key)
        pictures.append(page.locator("canvas").evaluate(PIXELS))
        words.append(page.locator("output").all_inner_texts())
    assert len(set(pictures)) == 4
    assert words[2:] == [["latents", "9"], ["latents", "0"]]
    assert depth.get_attribute("aria-valuetext") == "latents" and training.get_attribute("aria-valuetext") == "0"


def test_play_moves_to_the_end_and_pauses_when_asked(page: Page) -> None:
    page.locator("button").click()
    page.wait_for_function("() => Number(document.querySelector('figure').dataset.at) > 0.1")
    page.locator("button").click()
    paused = page.locator("figure").evaluate(AT)
    page.wait_for_timeout(200)
    assert page.locator("figure").evaluate(AT) == paused and page.locator("button").inner_text() == "Play"
    page.locator("button").press("Enter")
    page.wait_for_function("() => document.querySelector('figure').dataset.at === '2.000'")
    assert page.locator("button").inner_text() == "Play" and page.locator("output").first.inner_text() == "latents"


def test_it_jumps_from_layer_to_layer_for_those_who_want_no_motion(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("""() => { window.seen = new Set(); new MutationObserver(() =>
        window.seen.add(document.querySelector('figure').dataset.at)).observe(
        document.querySelector('figure'), {attributes: true}); }""")
    page.locator("button").click()
    page.wait_for_function("() => document.querySelector('figure').dataset.at === '2.000'")
    assert set(page.evaluate("() => [...window.seen]")) == {"0.000", "1.000", "2.000"}


def test_it_fits_into_a_narrow_window(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("canvas").bounding_box()
    assert box is not None and 200 < box["width"] <= 320 and abs(box["width"] - box["height"]) < 3
