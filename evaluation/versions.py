"""Versions of what is installed here."""

import importlib.metadata
import platform
import re
from collections.abc import Iterable

from PIL import features

# By the names of their features in Pillow.
LIBRARIES = {
    "libjpeg-turbo": "libjpeg_turbo",
    "libwebp": "webp",
    "libavif": "avif",
    "OpenJPEG": "jpg_2000",
}
ENCODERS = ("pillow", "pillow-jxl-plugin")  # packages


def of(packages: Iterable[str]) -> dict[str, str]:
    """Versions by name: of Python, of those of the packages that are here, and of libraries in Pillow."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    libraries = {name: features.version(feature) for name, feature in LIBRARIES.items()} | _avif_encoder()
    return found | {name: version for name, version in libraries.items() if version}


def _avif_encoder():
    """The library that encodes for libavif, and so decides what a tune is, with its version."""
    try:
        from PIL import _avif
    except ImportError:
        return {}
    found = re.search(r"(\w+) \[enc[^]]*\]:v?([\d.]+)", _avif.codec_versions())
    return {f"{found[1]} (for AVIF)": found[2]} if found else {}
