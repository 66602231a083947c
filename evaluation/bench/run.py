"""All parts of the bench in turn, and the file that keeps what they find."""

import dataclasses
import datetime
import json
import logging
import os
import platform

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from coding.files import replacing
from evaluation import versions
from evaluation.bench import codecs, coder, commands, photograph, sizes, stages

PARTS = ("coder", "codecs", "commands", "stages")
FILE = "bench.json"
PACKAGES = (
    "numpy",
    "onnxruntime",
    "torch",
    "arithmetic-compressor",
    "constriction",
    "pillow",
    "pillow-jxl-plugin",
    "compressai",
)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    megapixels: the sizes of the codecs, in 10^6 pixels
    repeats: runs of everything
    against: names in codecs.AGAINST
    limit: seconds, of a codec for one picture, see `sizes.rows`
    parts: some of PARTS
    """

    megapixels: list[float]
    repeats: int
    against: list[str]
    limit: float
    parts: list[str] = PARTS


def run(plan: Plan) -> dict:
    """The results, for JSON: date, machine, versions and settings, and the rows of all parts."""
    found = {
        "date": datetime.date.today().isoformat(),
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": versions.of(PACKAGES),
        "settings": {
            "photograph": photograph.NAME,
            "megapixels": plan.megapixels,
            "repeats": plan.repeats,
            "limit": plan.limit,
        },
        "rows": [],
    }
    with logging_redirect_tqdm():  # lines of the log above the bar
        for part in PARTS:
            if part in plan.parts:
                rows, total = _rows(part, plan)
                bar = tqdm(rows, part, total, unit="row", leave=False, disable=None)
                found["rows"] += [_rounded(row) for row in bar]
    return found


def _rows(part, plan):
    """An iterator over the rows of a part, and their number if it is known."""
    if part == "codecs":
        names = list(codecs.OURS) + sizes.available(plan.against)
        rows = sizes.rows(names, plan.megapixels, plan.repeats, plan.limit)
        return rows, len(names) * len(set(plan.megapixels))
    module = {"coder": coder, "commands": commands, "stages": stages}[part]
    return module.rows(plan.repeats), None


def _rounded(row):
    """A row with microseconds and tenths of megabytes."""
    row = dict(row)
    for way in "encode", "decode":
        if f"{way} seconds" in row:
            row[f"{way} seconds"] = [round(seconds, 6) for seconds in row[f"{way} seconds"]]
        if f"{way} MB" in row:
            row[f"{way} MB"] = round(row[f"{way} MB"], 1)
    return row


def _processor():
    """The name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(found: dict, folder: str):
    """Write results to bench.json in `folder`, a row a line; raises as files.replacing."""
    with (
        replacing(os.path.join(folder, FILE)) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        rows = ",\n".join(json.dumps(row) for row in found["rows"])
        rest = json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1)
        file.write(f'{rest[:-2]},\n "rows": [\n{rows}\n]}}\n')


def read(folder: str) -> dict:
    """The results that `write` wrote to `folder`."""
    with open(os.path.join(folder, FILE), encoding="utf-8") as file:
        return json.load(file)
