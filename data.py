"""Photographs to training crops: folders and tar files of images, held decoded in memory.

All pixels lie in one flat uint8 tensor and crops are gathered from it by index, on the CPU or on
the GPU alike, so that no loader process stands between the data and the training loop.
"""

import io
import os
import sys
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from picture import EXTENSIONS


def read_files(paths):
    """Yield (name, bytes) of every image in the folders and tar files `paths`, in a fixed order.

    Raises ValueError for what is neither, and OSError.
    """
    for path in paths:
        if os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    full = os.path.join(folder, name)
                    if name.lower().endswith(".tar"):
                        yield from read_files([full])
                    elif name.lower().endswith(EXTENSIONS):
                        with open(full, "rb") as file:
                            yield full, file.read()
        else:
            try:
                with tarfile.open(path) as archive:
                    for member in archive:
                        if member.isfile() and member.name.lower().endswith(EXTENSIONS):
                            yield f"{path}/{member.name}", archive.extractfile(member).read()
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise ValueError(f"{path}: neither a folder nor a whole tar file ({error})") from error


def decode(content):
    """RGB pixels, uint8 (H, W, 3), of the bytes of an image file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def load_images(paths, smallest=1, limit=None):
    """Decode every image below `paths` (at most `limit`) to a list of uint8 arrays (H, W, 3).

    Files that cannot be decoded are left out, and counted on stderr, and so are images with less than `smallest` pixels
    on a side. Raises ValueError if none is left.
    """
    files = [named for _, named in zip(range(limit or 10**9), read_files(paths))]
    if not files:
        raise ValueError(f"no images in {', '.join(paths)}")

    def try_to_decode(named):
        try:
            return decode(named[1])
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ):  # what Pillow raises for damaged files
            return None

    with ThreadPoolExecutor() as pool:
        decoded = list(
            tqdm(pool.map(try_to_decode, files), "decoding", len(files), unit="image", disable=None)
        )
    unreadable = [name for (name, _), image in zip(files, decoded) if image is None]
    if len(unreadable) == len(files):
        raise ValueError(f"none of the {len(files)} images in {', '.join(paths)} can be read")
    if unreadable:
        print(
            f"{len(unreadable)} of {len(files)} images cannot be read and are left out, the first is {unreadable[0]}",
            file=sys.stderr,
        )
    images = [image for image in decoded if image is not None and min(image.shape[:2]) >= smallest]
    if not images:
        raise ValueError(f"no image in {', '.join(paths)} is at least {smallest} pixels on both sides")
    if len(images) + len(unreadable) < len(files):
        print(
            f"{len(files) - len(images) - len(unreadable)} of {len(files)} images have less than {smallest} pixels on a side "
            "and are left out",
            file=sys.stderr,
        )
    return images


class Crops:
    """Random square crops of a list of images, flipped and varied in scale."""

    def __init__(self, images, size, device="cpu"):
        """images: uint8 arrays (H, W, 3), none smaller than `size`, in pixels a side."""
        self.size, self.device = size, device
        self.heights, self.widths = np.array([image.shape[:2] for image in images]).T
        areas = self.heights * self.widths
        self.offsets = np.cumsum(areas) - areas
        self.share = areas / areas.sum()
        self.pixels = torch.empty(areas.sum(), 3, dtype=torch.uint8, device=device)
        for image, offset, area in zip(images, self.offsets, areas):
            self.pixels[offset : offset + area] = torch.from_numpy(image.reshape(-1, 3).copy())

    def sample(self, count, random):
        """A batch (count, 3, size, size) of float pixels in [0, 1], drawn with `random` (numpy Generator)."""
        which = random.choice(len(self.offsets), count, p=self.share)
        room = min(self.heights[which].min(), self.widths[which].min())
        side = self.size
        if random.random() < 0.5:  # shrink a larger crop: sharper edges, as in larger photographs
            side = min(room, int(self.size * random.uniform(1, 1.5)))
        top = random.integers(0, self.heights[which] - side + 1)
        left = random.integers(0, self.widths[which] - side + 1)
        flip = random.random(count) < 0.5

        line = torch.arange(side, device=self.device)
        move = lambda a: torch.as_tensor(a, device=self.device).view(-1, 1, 1)
        columns = torch.where(move(flip), line.flip(0), line)  # (count, 1, side)
        rows = line.view(1, -1, 1)  # (1, side, 1)
        index = (
            move(self.offsets[which]) + (move(top) + rows) * move(self.widths[which]) + move(left) + columns
        )
        batch = self.pixels[index].permute(0, 3, 1, 2).float() / 255  # (count, 3, side, side)
        if side != self.size:
            batch = F.interpolate(batch, (self.size, self.size), mode="bilinear", antialias=True)
        return batch.contiguous(memory_format=torch.channels_last)
