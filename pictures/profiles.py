"""ICC profiles for colours that a file describes in another way: primaries, white point and gamma."""

import struct

import numpy as np
from PIL import Image

SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
# White, red, green and blue as x, y, ..., by their code in ITU-T H.273.
PRIMARIES = {
    **dict.fromkeys((1, 2, 5, 6), SRGB),  # BT.601's, and none that is named, are shown as those of sRGB
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
}
NEAR = 0.005  # by which primaries may differ from those of sRGB
D50 = np.array([0.9642, 1, 0.8249])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def of(image: Image.Image) -> bytes | None:
    """The profile of a Pillow image, or one for the primaries it names where they are not those of sRGB."""
    info = image.info
    if info.get("icc_profile"):
        return info["icc_profile"]
    primaries, is_colour = info.get("chromaticity"), image.mode in ("RGB", "RGBA", "P")
    if primaries is None or "srgb" in info or not is_colour:
        return None
    is_srgb = np.abs(np.subtract(primaries, SRGB)).max() <= NEAR
    return None if is_srgb else make(primaries, info.get("gamma"))


def make(primaries: tuple[float, ...], gamma: float | None) -> bytes | None:
    """A profile, or None for primaries that are none.

    primaries: x and y of white, red, green and blue
    gamma: exponent by which samples are made of light, or None for the curve of sRGB
    """
    try:
        adaptation, colours = _to_d50(np.reshape(primaries, (4, 2)))
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    if not (np.isfinite(colours).all() and np.abs(colours).max() < 4):
        return None
    curve = _curve(0, (1 / gamma,)) if gamma else _curve(3, SRGB_CURVE)
    tags = {
        b"desc": _text("sRGB" if primaries == SRGB and gamma is None else "RGB of primaries"),
        b"cprt": _text("CC0"),
        b"wtpt": _xyz(D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adaptation.ravel()),
        **{name: _xyz(colour) for name, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colours.T)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    return _assembled(tags)


def _to_d50(points):
    """The matrix (3, 3) from the white point to D50, and one with red, green and blue in columns, in XYZ."""
    if not points[:, 1].all():
        raise ZeroDivisionError
    white, *rgb = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in points)
    rgb = np.transpose(rgb)
    response = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    adaptation = np.linalg.inv(BRADFORD) @ response @ BRADFORD
    return adaptation, adaptation @ (rgb * np.linalg.solve(rgb, white))


def _assembled(tags):
    """A profile of version 4.2 for displays; equal tags share their place."""
    table, body, places = struct.pack(">I", len(tags)), b"", {}
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, places[content], len(content))
    head = struct.pack(">I4sI12s12s4s", start + len(body), b"", 0x04200000, b"mntrRGB XYZ ", _date(), b"acsp")
    return (head + bytes(28) + _fixed(D50)).ljust(128, b"\0") + table + body


def _date():
    return struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # one, so that equal pictures make equal files


def _fixed(values):
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _xyz(colour):
    return b"XYZ \0\0\0\0" + _fixed(colour)


def _curve(kind, parameters):
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(parameters)


def _text(text):
    content = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(content), 28) + content
