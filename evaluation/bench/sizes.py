"""Each codec at each size: seconds in a process that is warm, and the peak memory of the whole process."""

import logging
import os
import tempfile
from collections.abc import Iterator

from evaluation.bench import codecs, launch, photograph

logger = logging.getLogger(__name__)


def available(names: list[str]) -> list[str]:
    """Those of the names in codecs.AGAINST that are installed; logs of the others what they lack."""
    found = []
    for name in dict.fromkeys(names):
        lack = codecs.AGAINST[name].missing()
        if lack is None:
            found.append(name)
        else:
            logger.warning("without %s: %s", codecs.AGAINST[name].name, lack)
    return found


def rows(
    names: list[str],
    megapixels: list[float],
    repeats: int,
    limit: float,
) -> Iterator[dict]:
    """A row for each size and each codec of the names in codecs.CODECS, the small sizes first.

    limit: seconds for one picture and one way. Another codec than ours that is expected to take longer, or to
    need more memory than is free, is left out at a size, as one that failed is at all larger ones.
    """
    last = {}
    with tempfile.TemporaryDirectory() as folder:
        image, file = os.path.join(folder, "image.png"), os.path.join(folder, "file")
        for size in sorted(set(megapixels)):
            picture = photograph.make(size)
            picture.save(image, compress_level=1)
            for name in names:
                codec, pixels = codecs.CODECS[name], picture.width * picture.height
                row = {"part": "codecs", "of": codec.name, "setting": codec.setting}
                row |= {"megapixels": size, "pixels": pixels}
                note = too_much(last.get(name), pixels, limit) if name in codecs.AGAINST else None
                if note:
                    row["note"] = note
                else:
                    row |= measure(name, image, file, repeats)
                    last[name] = row
                yield row


def too_much(last: dict | None, pixels: int, limit: float) -> str | None:
    """Why a codec is left out at a size, or None: what is expected grows with the pixels.

    last: its row at a smaller size, if there is one
    pixels: of the size
    limit: in seconds
    """
    if last is None:
        return None
    if "note" in last:
        return last["note"]
    factor = pixels / last["pixels"]
    expected = factor * max(min(last["encode seconds"]), min(last["decode seconds"]))
    if expected > limit:
        return f"left out, since it would take about {expected:.0f} s"
    needed, free = factor * max(last["encode MB"], last["decode MB"]), free_megabytes()
    if needed > free:
        return f"left out, since it may need {needed / 1000:.0f} GB of memory"
    return None


def free_megabytes() -> float:
    """What a process can still have of the memory, in 10^6 bytes; infinite where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            kilobytes = next(line.split()[1] for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return float("inf")
    return int(kilobytes) * 1024 / 1e6


def measure(name: str, image: str, file: str, repeats: int) -> dict:
    """What a row says of a codec in codecs.CODECS and the picture at the path `image`, or a note.

    file: the path of the codec's file, which is written
    """
    numbers = {}
    for way in "encode", "decode":
        try:
            answer, run = launch.ask("child", way=way, codec=name, image=image, file=file, repeats=repeats)
        except launch.LaunchError as error:
            return {"note": f"{way} failed ({error})"}
        numbers |= {f"{way} seconds": answer["seconds"], f"{way} MB": run.megabytes}
    return numbers | {"bytes": os.path.getsize(file)}
