"""Drawn pictures for training: text, interfaces, lines and words over photographs.

Photographs alone teach nothing of flat colours and of letters; some drawn pictures among them are enough for
both to survive.
"""

import colorsys
import functools
import os
import string

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SHARE = 0.015  # of the pixels of the photographs that are drawn besides
SIDE = 512  # of a picture, in pixels
FONTS = [
    f"DejaVu{name}.ttf"
    for name in ("Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "SansMono-Bold", "Serif", "Serif-Bold")
]
LETTERS = np.array(list(string.ascii_lowercase * 4 + string.ascii_uppercase + string.digits + ".,:;-!?"))


def drawn_pictures(photographs: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    """Pictures, uint8 (SIDE, SIDE, 3), whose pixels are SHARE of those of the photographs; at least one.

    photographs: uint8 (H, W, 3), which some of the words are written over
    """
    count = round(SHARE * sum(photograph[..., 0].size for photograph in photographs) / SIDE**2)
    kinds = _page, _interface, _lines, functools.partial(_words_over, photographs)
    return [np.asarray(kinds[number % len(kinds)](random)) for number in range(max(1, count))]


def _color(random, saturated=False):
    """A color: gray, any, or a saturated one."""
    kind = "saturated" if saturated else random.choice(["gray", "any", "saturated"])
    if kind == "gray":
        return (int(random.choice([0, 32, 64, 128, 192, 240, 255])),) * 3
    if kind == "any":
        return tuple(random.integers(0, 256, 3).tolist())
    parts = colorsys.hsv_to_rgb(random.random(), 1, random.uniform(0.6, 1))
    return tuple(round(255 * part) for part in parts)


def _paper(random):
    """The color of a background: mostly white or nearly so."""
    return (int(random.integers(236, 256)),) * 3 if random.random() < 0.5 else _color(random)


def _contrast(random, background):
    """A color that can be read on `background`."""
    while True:
        color = _color(random)
        if np.abs(np.subtract(color, background)).max() > 80:
            return color


@functools.lru_cache(maxsize=256)
def _font(name, size):
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def _any_font(random, smallest, largest):
    return _font(str(random.choice(FONTS)), round(np.exp(random.uniform(np.log(smallest), np.log(largest)))))


def _words(random, count):
    """Random letters in words, not those of a language."""
    return " ".join("".join(random.choice(LETTERS, random.integers(1, 11))) for _ in range(count))


def _canvas(color):
    image = Image.new("RGB", (SIDE, SIDE), color)
    return image, ImageDraw.Draw(image)


def _page(random):
    """Lines of text, some with a headline, in one or two columns."""
    background = _paper(random)
    image, draw = _canvas(background)
    ink, font = _contrast(random, background), _any_font(random, 9, 28)
    spacing, columns = round(font.size * random.uniform(1.1, 1.6)), int(random.integers(1, 3))
    for column in range(columns):
        left, top = 12 + column * SIDE // columns, int(random.integers(0, 40))
        if random.random() < 0.4:
            headline = _contrast(random, background), _any_font(random, 28, 64)
            draw.text((left, top), _words(random, 2), *headline)
            top += 70
        for at in range(top, SIDE, spacing):
            draw.text((left, at), _words(random, 20)[: SIDE // columns * 2 // font.size], ink, font)
        draw.rectangle((left - 12 + SIDE // columns - 6, 0, SIDE, SIDE), background)
    return image


def _interface(random):
    """Panels, buttons and fields, with labels, borders and gradients."""
    image, draw = _canvas(_paper(random))
    for _ in range(int(random.integers(6, 25))):
        left, top = random.integers(-20, SIDE - 20, 2).tolist()
        width, height = np.exp(random.uniform(np.log(12), np.log(300), 2)).astype(int).tolist()
        box, fill = (left, top, left + width, top + height), _paper(random)
        if random.random() < 0.2:
            ramp = np.linspace(0, 1, max(2, width))[None, :, None]
            colors = np.subtract(_color(random), fill) * ramp + fill
            image.paste(Image.fromarray(np.repeat(colors, height, 0).astype(np.uint8)), box[:2])
        else:
            edge = _contrast(random, fill) if random.random() < 0.5 else None
            radius, border = int(random.choice([0, 0, 4, 12])), int(random.integers(1, 4))
            draw.rounded_rectangle(box, min(radius, width // 2, height // 2), fill, edge, border)
        if random.random() < 0.7:
            label = _contrast(random, fill), _any_font(random, 9, 24)
            draw.text((left + 6, top + 4), _words(random, 2), *label)
    return image


def _lines(random):
    """Thin lines, curves and grids on a flat color, mostly saturated."""
    background = _color(random, saturated=random.random() < 0.4)
    image, draw = _canvas(background)
    if random.random() < 0.3:
        step, color = int(random.integers(3, 40)), _contrast(random, background)
        for at in range(0, SIDE, step):
            draw.line((at, 0, at, SIDE), color)
            draw.line((0, at, SIDE, at), color)
    for _ in range(int(random.integers(10, 60))):
        points = np.cumsum(random.normal(0, random.uniform(5, 120), (int(random.integers(2, 12)), 2)), 0)
        points = (points + random.uniform(0, SIDE, 2)).ravel().tolist()
        color = _color(random, saturated=random.random() < 0.7)
        if random.random() < 0.2:
            draw.polygon([*points, 0, 0], color)
        else:
            draw.line(points, color, int(random.choice([1, 1, 2, 3, 8])))
    return image


def _words_over(photographs, random):
    """Words over a part of a photograph."""
    photograph = Image.fromarray(photographs[random.integers(len(photographs))])
    side = min(photograph.size)
    left, top = (int(random.integers(0, length - side + 1)) for length in photograph.size)
    image = photograph.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(3, 16))):
        at = random.integers(-10, SIDE - 40, 2).tolist()
        words, font = _words(random, int(random.integers(1, 6))), _any_font(random, 10, 72)
        border = {"stroke_width": int(random.integers(0, 3)), "stroke_fill": _color(random)}
        draw.text(at, words, _color(random), font, **border)
    return image
