"""Photographs to train on."""

import io
import tarfile

import numpy as np
from PIL import Image


def write_photos(folder):
    """Make a folder (pathlib.Path) with an image, and a tar file of another; returns it."""
    folder.mkdir()
    y, x = np.mgrid[0:70, 0:90]
    image = Image.fromarray(np.stack([x * 2, y * 3, x + y], 2).astype(np.uint8))
    image.save(folder / "a.png")
    file = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "PNG")
    with tarfile.open(folder / "b.tar", "w") as archive:
        member = tarfile.TarInfo("deep/b.png")
        member.size = len(file.getvalue())
        archive.addfile(member, io.BytesIO(file.getvalue()))
        archive.addfile(tarfile.TarInfo("notes.txt"))
    return folder
