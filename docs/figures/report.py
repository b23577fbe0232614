"""The picture of docs/the-report.md: the report of an audit, on a desk and on a telephone. Needs playwright and
Chromium.

    python docs/figures/report.py DIR
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
HEIGHT, GAP = 1180, 30
VIEWS = ((1180, "light", ""), (390, "light", "#findings"), (390, "dark", "#figure-curve"))
"""Width, colours, and the place on the page."""


def main(folder: Path) -> None:
    pictures = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for width, scheme, place in VIEWS:
            page = browser.new_page(
                viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce"
            )
            page.goto((folder / "report.html").resolve().as_uri() + place)
            pictures.append(Image.open(BytesIO(page.screenshot())))
        browser.close()
    sheet = Image.new("RGB", (sum(each.width + GAP for each in pictures) - GAP, HEIGHT), "#8d96a3")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    small = sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS)
    few = small.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(HERE / "report.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
