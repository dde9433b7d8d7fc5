"""The web page, in a real Chromium: drawing, the keyboard, pictures, golden samples, offline."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import numpy as np
import onnxruntime
import package_models as models
import pytest
from PIL import Image, ImageDraw

import toolkit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

SEVEN = [(0.25, 0.2), (0.5, 0.2), (0.75, 0.2), (0.6, 0.5), (0.45, 0.85)]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


class Site:
    """A package's public folder on a local server, which counts what it is asked for."""

    def __init__(self, folder):
        handler = functools.partial(Quiet, directory=folder / "public")
        self.folder = folder
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models.digits_model(folder / "digits.onnx")
    models.quantized(folder / "digits.onnx", folder / "digits.int8.onnx")
    models.colour_model(folder / "colours.onnx")
    models.binary_model(folder / "sensor.onnx")
    models.nasty_model(folder / "nasty.onnx")
    return folder


@pytest.fixture(scope="module")
def runtime(files, tmp_path_factory):
    """The three files of onnxruntime-web, brought by a package's own `npm install`."""
    if shutil.which("npm") is None:
        pytest.skip("'npm' is not installed; .ci/install brings it")
    folder = tmp_path_factory.mktemp("npm") / "app"
    toolkit.package(files / "digits.onnx", "web", folder)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "    npm install\n    python3 -m http.server --directory public 8000\n" in readme
    done = subprocess.run(
        ["npm", "install"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"'npm install' needs the npm registry: {done.stderr[-200:]}")
    assert len(list((folder / "public" / "runtime").iterdir())) == 3
    return folder / "public" / "runtime"


@pytest.fixture
def site(files, runtime, tmp_path):
    sites = []

    def make(name, **options):
        folder = tmp_path / f"app-{len(sites)}"
        toolkit.package(files / f"{name}.onnx", "web", folder, **options)
        (folder / "public" / "runtime").symlink_to(runtime)
        sites.append(Site(folder))
        return sites[-1]

    yield make
    for one in sites:
        one.stop()


@pytest.fixture
def opened(browser):
    """Open a site; whatever the page complains about, or asks of others, fails the test."""
    pages = []
    complaints = []

    def make(site, **options):
        context = browser.new_context(**options)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("console", lambda message: complaints.extend(serious(message)))
        page.on(
            "request",
            lambda r: None if r.url.startswith((site.url, "blob:")) else complaints.append(r.url),
        )
        page.goto(site.url)
        page.wait_for_selector("body[data-golden]", timeout=60_000)
        pages.append(context)
        return page

    yield make
    for context in pages:
        context.close()
    assert complaints == []


def serious(message):
    """A console message's text in a list, or nothing when it is no complaint about the page."""
    ours = "willReadFrequently" in message.text  # the test itself reads a canvas more than once
    return [message.text] if message.type in ("error", "warning") and not ours else []


def draw(page, points):
    box = page.locator("#sheet").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def until(page, condition):
    """Wait for a condition; the page's own policy forbids the way in which Playwright would."""
    for _ in range(300):
        if page.evaluate(f"() => {condition}"):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {condition}")


def answer(page):
    """Wait until the answer stands, and return it with the percentages of all rows."""
    until(page, "document.getElementById('answer').textContent !== '–'")
    page.wait_for_timeout(250)
    cells = page.locator("#bars tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent))"
    )
    return page.locator("#answer").inner_text(), cells


def expected(path, pixels):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {"image": pixels.reshape(1, 28, 28, 1)})[0][0]


def seen_pixels(page):
    """What the page shows as the model's input, uint8 [28, 28]."""
    values = page.evaluate(
        "() => { const c = document.getElementById('seen-pixels');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
    )
    return np.array(values, np.uint8).reshape(28, 28, 4)[..., 0]


def test_golden_samples_are_met_by_both_models(site, opened, files):
    page = opened(site("digits.int8", beside=files / "digits.onnx"))
    assert page.get_attribute("body", "data-golden") == "passed"
    checks = json.loads(page.get_attribute("body", "data-checks"))
    assert [check["met"] for check in checks] == [8, 8]
    assert checks[0]["worst"] <= checks[0]["tolerance"]
    assert checks[1]["worst"] < 1e-5


def test_strokes_give_the_answer_that_python_gives(site, opened, files):
    page = opened(site("digits.int8", beside=files / "digits.onnx"))
    draw(page, SEVEN)
    label, cells = answer(page)
    pixels = seen_pixels(page)
    rows, columns = np.nonzero(pixels)
    assert max(np.ptp(rows), np.ptp(columns)) == 19  # a digit of 20 pixels in the field of 28
    for column, name in enumerate(("digits.int8.onnx", "digits.onnx")):
        scores = expected(files / name, pixels)
        shown = [float(row[column].removesuffix(" %")) / 100 for row in cells]
        np.testing.assert_allclose(shown, scores, atol=0.0045)
    assert label == str(expected(files / "digits.int8.onnx", pixels).argmax())
    assert re.search(r"^\d, \d+\.\d % sure\. (Both agree|The two disagree)\.$", spoken(page))
    assert re.fullmatch(r"\d+\.\d\d ms", page.locator("#time-0").inner_text())


def spoken(page):
    until(page, "document.getElementById('spoken').textContent !== ''")
    return page.locator("#spoken").inner_text()


def test_bars_move_while_the_hand_draws(site, opened):
    page = opened(site("digits"))
    box = page.locator("#sheet").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    seen = set()
    for step in range(1, 9):
        page.mouse.move(box["x"] + 60 + 20 * step, box["y"] + 60 + 15 * (step % 3) * step)
        page.wait_for_timeout(120)
        seen.add(str(answer(page)[1]))
    page.mouse.up()
    assert len(seen) > 3


def test_the_keyboard_draws_undoes_and_clears(site, opened):
    page = opened(site("digits"))
    page.focus("#sheet")
    page.keyboard.press("Space")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Space")
    answer(page)
    tall = seen_pixels(page)
    assert np.ptp(np.nonzero(tall)[0]) == 19
    assert np.ptp(np.nonzero(tall)[1]) < 8
    page.keyboard.press("Backspace")
    until(page, "document.getElementById('answer').textContent === '–'")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    answer(page)
    page.keyboard.press("Escape")
    until(page, "document.getElementById('answer').textContent === '–'")


@pytest.mark.parametrize(("paper", "ink"), [("white", "navy"), ("black", "yellow")])
def test_a_picture_of_a_digit_is_read_like_a_drawn_one(site, opened, tmp_path, paper, ink):
    side = 300
    picture = Image.new("RGB", (side, side), paper)
    ImageDraw.Draw(picture).line(
        [(round(x * side), round(y * side)) for x, y in SEVEN], fill=ink, width=26, joint="curve"
    )
    picture.save(tmp_path / "seven.png")
    page = opened(site("digits"))
    draw(page, SEVEN)
    answer(page)
    drawn = seen_pixels(page).astype(float)
    page.set_input_files("#file", tmp_path / "seven.png")
    page.wait_for_timeout(400)
    given = seen_pixels(page).astype(float)
    assert np.corrcoef(drawn.ravel(), given.ravel())[0, 1] > 0.85


def test_a_file_that_is_no_picture_is_said(site, opened, tmp_path):
    (tmp_path / "note.txt").write_text("no picture", encoding="utf-8")
    page = opened(site("digits"))
    page.set_input_files("#file", tmp_path / "note.txt")
    until(page, "document.getElementById('sure').textContent.includes('no picture')")


def test_the_page_works_offline_once_loaded(site, opened):
    place = site("digits")
    page = opened(place)
    page.wait_for_selector("body[data-offline=ready]")
    place.stop()
    page.reload()
    page.wait_for_selector("body[data-golden=passed]", timeout=60_000)
    draw(page, SEVEN)
    answer(page)


def test_a_changed_model_is_found_out(site, opened):
    place = site("digits")
    golden = place.folder / "public" / "golden" / "output-0.bin"
    golden.write_bytes(bytes(len(golden.read_bytes())))
    page = opened(place)
    assert page.get_attribute("body", "data-golden") == "failed"
    assert "do not trust" in page.locator("#golden").inner_text()


def test_a_phone_shows_the_sheet_and_all_bars_at_once(site, opened, files):
    page = opened(
        site("digits.int8", beside=files / "digits.onnx"),
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    page.locator("#sheet").tap(position={"x": 150, "y": 100})
    answer(page)
    for place in ("#sheet", "#clear", "#sample", "#bars tbody tr:last-child"):
        box = page.locator(place).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844


def test_everything_has_a_name_for_a_screen_reader(site, opened):
    page = opened(site("digits"))
    tree = page.locator("body").aria_snapshot()
    for words in (
        "application",
        "Sheet to draw a digit on",
        'button "Clear"',
        'button "Undo"',
        "Picture…",
        'button "Sample"',
        "Probability of each class",
        'rowheader "7"',
    ):
        assert words in tree


def test_colour_pictures_are_resized_and_scaled_as_the_contract_says(site, opened, files, tmp_path):
    flat = (200, 60, 30)
    Image.new("RGB", (50, 40), flat).save(tmp_path / "flat.png")
    page = opened(site("colours"))
    page.set_input_files("#file", tmp_path / "flat.png")
    label, cells = answer(page)
    scaled = np.array(flat) * [0.02, 0.03, 0.04] + [-1, -2, -3]
    pixels = np.broadcast_to(scaled.astype(np.float32).reshape(1, 3, 1, 1), (1, 3, 12, 10))
    session = onnxruntime.InferenceSession(files / "colours.onnx")
    scores = session.run(None, {"picture": np.ascontiguousarray(pixels)})[0][0]
    powers = np.exp(scores - scores.max())
    shown = [float(row[0].removesuffix(" %")) / 100 for row in cells]
    np.testing.assert_allclose(shown, powers / powers.sum(), atol=0.002)
    assert label == ("cat", "dog", "crème brûlée")[int(scores.argmax())]


def test_numbers_are_typed_for_a_model_without_pictures(site, opened):
    page = opened(site("sensor"))
    page.fill("#numbers", "1 0 nonsense")
    until(page, "document.getElementById('numbers-note').textContent.includes('“')")
    page.fill("#numbers", "1 0 0 0 1")
    label, cells = answer(page)
    assert label == "1"
    assert cells == [["11.9 %"], ["88.1 %"]]  # sigmoid(2)


def test_hostile_names_are_only_shown(site, opened):
    page = opened(site("nasty"))
    page.click("#sample")
    answer(page)
    assert page.locator("img").count() == 0
    assert "<img src=x" in page.locator("h1").inner_text()
    assert "<img src=x" in page.locator("#bars").inner_text()
