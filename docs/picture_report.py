"""Draws docs/report.png, the picture of a bench's page, in Debian's Chromium.

toolkit demo -o demo && python docs/picture_report.py demo/report.html
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 960, 1560  # the summary, the figures and the first charts


def main() -> None:
    """Draw the top of the page, in the light theme."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: sudo apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(arguments.page.resolve().as_uri())
        shot = Image.open(io.BytesIO(tab.screenshot()))
        browser.close()
    # A page has few colours: a palette makes the file a third as large.
    small = shot.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(Path(__file__).with_name("report.png"), optimize=True)


if __name__ == "__main__":
    main()
