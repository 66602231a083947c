"""Labels of colours by the codes of ITU-T H.273 (CICP), which Pillow does not read, in PNG and AVIF files."""

import struct
from typing import BinaryIO, NamedTuple

from pictures import png, profiles

HEADER = 1 << 14  # bytes of an AVIF file in which its colours are described
SDR = (1, 2, 6, 13, 14, 15)  # curves that are shown as that of sRGB
HDR = {16: "PQ", 18: "HLG"}


class Label(NamedTuple):
    """Codes of primaries, of the curve and of the matrix, and 1 for the full range."""

    primaries: int
    curve: int
    matrix: int
    full: int

    @property
    def has_profile(self) -> bool:
        """Whether an ICC profile can say the same."""
        return self.primaries in profiles.PRIMARIES and self.curve in SDR

    def __str__(self):
        kind = f"HDR colours, {HDR[self.curve]}" if self.curve in HDR else "colours"
        return f"the label of {kind} (CICP {'/'.join(map(str, self))})"


def find(file: BinaryIO, chunks: dict[bytes, bytes]) -> Label | None:
    """The label in an open file, whose `png.chunks` are given, if there is one."""
    if len(chunks.get(png.LABEL, b"")) == 4:
        return Label(*chunks[png.LABEL])
    file.seek(0)
    head = file.read(HEADER)
    at = head.find(b"colrnclx") if head[4:8] == b"ftyp" else -1
    content = head[at + 8 : at + 15] if at >= 0 else b""
    return Label(*struct.unpack(">HHH", content[:6]), content[6] >> 7) if len(content) == 7 else None


def apply(label: Label | None, info: dict) -> None:
    """Let the `info` of an image speak of its label, where this can be said by a profile."""
    if label and label.has_profile and not info.get("icc_profile"):
        info["chromaticity"] = profiles.PRIMARIES[label.primaries]
        for name in "gamma", "srgb":
            info.pop(name, None)
