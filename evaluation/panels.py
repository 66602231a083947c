"""Pictures side by side, each with a line above it."""

from PIL import Image, ImageDraw, ImageFont

GAP, HEADING = 20, 30  # pixels between pictures, and above them for their lines


def lay_out(rows: list[dict[str, Image.Image]]) -> Image.Image:
    """One picture of rows of pictures by the lines above them; all are RGB and of one size."""
    width, height = next(iter(rows[0].values())).size
    across, down = width + GAP, height + HEADING
    canvas = Image.new("RGB", (max(map(len, rows)) * across - GAP, len(rows) * down), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for y, row in enumerate(rows):
        for x, (line, image) in enumerate(row.items()):
            draw.text((x * across + 4, y * down + 4), line, "black", font)
            canvas.paste(image, (x * across, y * down + HEADING - 4))
    return canvas


def enlarged(image: Image.Image, box: tuple[int, int, int, int], times: int) -> Image.Image:
    """A crop of a picture, each of whose pixels becomes a square; box: left, top, width and height."""
    left, top, width, height = box
    crop = image.crop((left, top, left + width, top + height))
    return crop.resize((times * width, times * height), Image.Resampling.NEAREST)
