"""Drawn screenshots with a photograph in each, to measure what the exact layer is for.

    python3 -m evaluation.screenshots screenshots/
    python3 evaluate.py screenshots/ --output resources/analytics/screenshots

The photographs are the test images; the letters are those of Pillow's own font.
"""

import argparse
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import cli

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZE = 1024, 640  # width and height
WORDS = ["the", "picture", "and", "its", "numbers", "of", "an", "even", "rate", "over", "exactly", "bytes"]
INK, BLUE, GRAY, PAPER = (30, 30, 34), (38, 98, 217), (226, 228, 233), (250, 250, 252)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output_dir", help="folder for the pictures")
    folder = parser.parse_args().output_dir
    os.makedirs(folder, exist_ok=True)
    for name, image in draw().items():
        image.save(os.path.join(folder, f"{name}.png"))


def draw() -> dict[str, Image.Image]:
    """The screenshots, RGB, by name."""
    return {"article": _article(), "program": _program(), "slide": _slide()}


def _canvas(colour):
    image = Image.new("RGB", SIZE, colour)
    return image, ImageDraw.Draw(image)


def _photograph(name, width, height):
    """A test image, scaled to cover so many pixels."""
    image = Image.open(os.path.join(TOP, "resources", "test_images", f"{name}.png")).convert("RGB")
    scale = max(width, height) / image.width
    scaled = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    return scaled.crop((0, 0, width, height))


def _lines(draw, left, top, right, bottom, size=15, colour=INK):
    """Lines of words in a rectangle."""
    font, random = ImageFont.load_default(size), np.random.default_rng(left + top)
    while top + size <= bottom:
        line = ""
        while draw.textlength(line, font) < right - left - 5 * size:
            line += f"{random.choice(WORDS)} "
        draw.text((left, top), line.strip(), colour, font)
        top += round(1.5 * size)


def _article():
    """A page of text in two columns around a photograph."""
    image, draw = _canvas("white")
    draw.text((40, 24), "A learned codec keeps its text", INK, ImageFont.load_default(38))
    _lines(draw, 40, 90, 500, 610)
    image.paste(_photograph("lena", 440, 300), (540, 96))
    draw.text((540, 402), "Figure 1: a photograph between letters", (90, 90, 96), ImageFont.load_default(13))
    _lines(draw, 540, 436, 990, 610)
    return image


def _program():
    """A window with a toolbar, a list and a photograph."""
    image, draw = _canvas(PAPER)
    draw.rectangle((0, 0, SIZE[0], 44), GRAY)
    for number, label in enumerate(("Open", "Save", "Crop", "Rotate", "Undo", "Export")):
        left = 12 + 96 * number
        draw.rounded_rectangle((left, 8, left + 86, 36), 6, "white", (180, 184, 192))
        draw.text((left + 24, 13), label, INK, ImageFont.load_default(14))
    draw.rectangle((0, 45, 250, SIZE[1]), "white")
    for number in range(17):
        top = 56 + 34 * number
        if number == 3:
            draw.rectangle((0, top - 6, 250, top + 26), BLUE)
        name = f"picture_{37 * number % 100:02}.png   {number * 131 % 900 + 64} kB"
        draw.text((16, top), name, "white" if number == 3 else INK, ImageFont.load_default(14))
        draw.line((0, top + 27, 250, top + 27), GRAY)
    image.paste(_photograph("peppers", 720, 560), (280, 60))
    return image


def _slide():
    """A headline, a chart with its axes, and a photograph."""
    image, draw = _canvas((18, 28, 54))
    draw.text((48, 36), "Rate and distortion", "white", ImageFont.load_default(46))
    chart = (60, 140, 560, 560)
    draw.rectangle(chart, "white")
    for step in range(1, 10):
        draw.line((chart[0], chart[1] + 42 * step, chart[2], chart[1] + 42 * step), GRAY)
        draw.text(
            (chart[0] + 4, chart[1] + 42 * step - 16), str(44 - 2 * step), INK, ImageFont.load_default(12)
        )
    for number, colour in enumerate((BLUE, (214, 64, 48), (40, 150, 90))):
        x = np.linspace(chart[0] + 30, chart[2] - 10, 30)
        y = chart[3] - 40 - (90 + 30 * number) * np.log1p((x - chart[0]) / 60)
        draw.line([*zip(x.tolist(), y.tolist())], colour, 3)
    image.paste(_photograph("baboon", 400, 420), (592, 140))
    _lines(draw, 60, 580, 990, 620, 17, (220, 224, 235))
    return image


if __name__ == "__main__":
    cli.run(main)
