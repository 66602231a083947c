"""Photographs to training crops: folders and tar files of images, held decoded in memory.

All pixels lie in one flat uint8 tensor and crops are gathered from it by index, on the CPU or on
the GPU alike, so that no loader process stands between the data and the training loop.
"""

import io
import itertools
import logging
import os
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from coding.errors import UserError
from pictures import picture, reading
from pictures.pillow import PictureError
from pictures.reading import EXTENSIONS

logger = logging.getLogger(__name__)


def read_files(paths: list[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every image in the folders and tar files `paths`, in a fixed order.

    Raises UserError for what is neither, and OSError.
    """
    for path in paths:
        yield from _read_folder(path) if os.path.isdir(path) else _read_tar(path)


def _read_folder(path):
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(folder, name)
            if name.lower().endswith(".tar"):
                yield from _read_tar(full)
            elif name.lower().endswith(EXTENSIONS):
                with open(full, "rb") as file:
                    yield full, file.read()


def _read_tar(path):
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.lower().endswith(EXTENSIONS):
                    yield f"{path}/{member.name}", archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: neither a folder nor a whole tar file ({error})") from error


def decode(content: bytes) -> np.ndarray:
    """RGB pixels, uint8 (H, W, 3), of the bytes of an image file; raises PictureError."""
    return np.asarray(picture.pixels(reading.read("an image", io.BytesIO(content))).convert("RGB"))


def _try_to_decode(content):
    """As `decode`, or None for a damaged file."""
    try:
        return decode(content)
    except PictureError:
        return None


def load_images(paths: list[str], smallest: int = 1, limit: int | None = None) -> list[np.ndarray]:
    """Every image below `paths`, decoded, uint8 (H, W, 3).

    paths: folders and tar files
    smallest: least pixels on a side; smaller images are left out
    limit: files to read at most, or None

    Logs how many files are left out, since they are damaged or too small. Raises UserError if none is left,
    and what `read_files` raises.
    """
    files = list(itertools.islice(read_files(paths), limit))
    if not files:
        raise UserError(f"no images in {', '.join(paths)}")

    with ThreadPoolExecutor() as pool:
        decoding = pool.map(_try_to_decode, [content for _, content in files])
        decoded = list(tqdm(decoding, "decoding", len(files), unit="image", disable=None))
    damaged = [name for (name, _), image in zip(files, decoded) if image is None]
    if len(damaged) == len(files):
        raise UserError(f"none of the {len(files)} images in {', '.join(paths)} can be read")
    if damaged:
        logger.warning(
            "%d of %d images cannot be read and are left out, the first is %s",
            len(damaged),
            len(files),
            damaged[0],
        )

    images = [image for image in decoded if image is not None and min(image.shape[:2]) >= smallest]
    small = len(files) - len(damaged) - len(images)
    if not images:
        raise UserError(f"no image in {', '.join(paths)} is at least {smallest} pixels on both sides")
    if small:
        logger.warning(
            "%d of %d images have less than %d pixels on a side and are left out", small, len(files), smallest
        )
    return images


class Crops:
    """Random square crops of a list of images, flipped and varied in scale."""

    def __init__(self, images: list[np.ndarray], size: int, device: torch.device | str = "cpu"):
        """
        images: uint8 (H, W, 3), none smaller than `size`
        size: side of a crop in pixels
        device: where the pixels lie
        """
        self.size, self.device = size, device
        self.heights, self.widths = np.array([image.shape[:2] for image in images]).T
        areas = self.heights * self.widths
        self.offsets = np.cumsum(areas) - areas  # of the first pixel of each image
        self.share = areas / areas.sum()
        self.pixels = torch.empty(areas.sum(), 3, dtype=torch.uint8, device=device)
        for image, offset, area in zip(images, self.offsets, areas):
            self.pixels[offset : offset + area] = torch.from_numpy(image.reshape(-1, 3).copy())

    def sample(self, count: int, random: np.random.Generator) -> torch.Tensor:
        """A batch (count, 3, size, size) of float pixels in [0, 1], drawn with `random`."""
        which = random.choice(len(self.offsets), count, p=self.share)
        room = min(self.heights[which].min(), self.widths[which].min())
        side = self.size
        if random.random() < 0.5:  # shrink a larger crop: sharper edges, as in larger photographs
            side = min(room, int(self.size * random.uniform(1, 1.5)))
        top = random.integers(0, self.heights[which] - side + 1)
        left = random.integers(0, self.widths[which] - side + 1)
        flip = random.random(count) < 0.5

        pixels = self._gather(which, side, top, left, flip)  # uint8 (count, side, side, 3)
        batch = pixels.permute(0, 3, 1, 2).float() / 255
        if side != self.size:
            batch = F.interpolate(batch, (self.size, self.size), mode="bilinear", antialias=True)
        return batch.contiguous(memory_format=torch.channels_last)

    def _gather(self, which, side, top, left, flip):
        """Pixels uint8 (count, side, side, 3) of squares of some images.

        which: numbers of the images
        side: of the squares, in pixels
        top, left: of the squares, in pixels
        flip: whether right and left change places

        All but the side are arrays (count,).
        """
        line = torch.arange(side, device=self.device)
        columns = torch.where(self._each(flip), line.flip(0), line) + self._each(left)  # (count, 1, side)
        rows = line.view(1, -1, 1) + self._each(top)  # (count, side, 1)
        first, width = self._each(self.offsets[which]), self._each(self.widths[which])
        return self.pixels[first + rows * width + columns]

    def _each(self, values):
        """An array (count,) as a tensor (count, 1, 1)."""
        return torch.as_tensor(values, device=self.device).view(-1, 1, 1)
