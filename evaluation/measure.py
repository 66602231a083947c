"""Everything that `evaluate.py` measures of an image: ours and the other codecs, at real file sizes."""

import concurrent.futures
import dataclasses
import functools
import io
import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

import codec
from coding.errors import UserError
from coding.modes import MODES
from engines import pair, shipped
from evaluation import heatmap, metrics, rivals
from pictures import picture, reading

THUMBNAIL = 128  # pixels
MOST_SHOWN = 3  # qualities that a page has pictures of
DIGITS = {"PSNR": 4, "MS-SSIM": 6, "SSIMULACRA2": 4, "Butteraugli": 6, "LPIPS": 5}

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is asked of our codec.

    mode: "hard", "soft" or "variable"
    quality: 1 to 10 in variable mode, None in the others
    effort: steps of the search
    tune: what the encoder was trained for, of modes.TUNES
    """

    mode: str
    quality: float | None
    effort: int
    tune: str

    @property
    def codec(self) -> str:
        """The name of the codec, as of a curve: of what encode.py writes by default it has no tune."""
        tune = f", tune={self.tune}" if self.tune != MODES[self.mode].tune else ""
        return f"{self.mode}{tune}, effort {self.effort}" if self.effort else f"{self.mode}{tune}"

    @property
    def engine(self) -> str:
        """That which the search needs, or the default."""
        return "torch" if self.effort else "auto"

    @property
    def setting(self) -> str:
        """The name of a point of the curve."""
        return f"B={MODES[self.mode].bits}" if self.quality is None else f"quality {self.quality:g}"


def trials(
    modes: list[str], qualities: list[float], efforts: list[int], tunes: Sequence[str] = ()
) -> list[Trial]:
    """A Trial of each mode for each tune at each effort, and of variable mode at each quality; none twice.

    tunes: of modes.TUNES; without any, each mode has its default

    Logs which modes have none of the tunes.
    """
    found = []
    for mode in modes:
        its_tunes = [tune for tune in tunes or [MODES[mode].tune] if tune in MODES[mode].tunes]
        if not its_tunes:
            logger.warning("without %s mode, which has no model for --tunes %s", mode, " ".join(tunes))
        for tune in its_tunes:
            for quality in [None] if MODES[mode].is_fixed else qualities:
                found += [Trial(mode, quality, effort, tune) for effort in efforts]
    return list(dict.fromkeys(found))


def to_be_shown(asked: list[Trial]) -> list[Trial]:
    """The trials of a few qualities, spread over all, or the first few of all where none has a quality."""
    qualities = list(dict.fromkeys(trial.quality for trial in asked if trial.quality is not None))
    if not qualities:
        return asked[:MOST_SHOWN]
    places = [part * len(qualities) // (MOST_SHOWN + 1) for part in range(1, MOST_SHOWN + 1)]
    shown = {qualities[place] for place in places}
    return [trial for trial in asked if trial.quality in shown]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured of every image.

    trials: of ours
    against: names in rivals.CODECS
    shown: those of the trials whose pictures are kept
    device: "cpu" or "cuda"
    optional: those of metrics.OPTIONAL that are measured
    """

    trials: list[Trial]
    against: list[str]
    shown: list[Trial] = ()
    device: str = "cpu"
    optional: list[str] = ()


@dataclasses.dataclass(frozen=True)
class Shown:
    """The pictures of a trial on an image.

    label: the trial, "codec, setting"
    bits: float64 (ceil(H/16), ceil(W/16)), that our file spends on each position
    files: bytes of image files by the name of the codec: ours, and others of as many bytes
    """

    label: str
    bits: np.ndarray
    files: dict[str, bytes]


@dataclasses.dataclass
class Measured:
    """An image and what was measured of it.

    name: as of `images.find`
    width, height: in pixels
    rows: one for each file, see `results.py`
    notes: what could not be done, in lines
    original, thumbnail: WebP files, where pictures are kept
    shown: a Shown for each trial of the plan's `shown`
    """

    name: str
    width: int = 0
    height: int = 0
    rows: list[dict] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    original: bytes = b""
    thumbnail: bytes = b""
    shown: list[Shown] = dataclasses.field(default_factory=list)


def measure_all(files: list[tuple[str, str]], plan: Plan, jobs: int = 1) -> list[Measured]:
    """The Measured of those files that can be measured; logs why others cannot.

    files: pairs of path and name
    plan: what is measured
    jobs: images at the same time; the seconds are true with one

    Raises UserError if none can be measured.
    """
    measured = []
    with logging_redirect_tqdm():  # lines of the log above the bar
        for outcome in tqdm(_outcomes(files, plan, jobs), total=len(files), unit="image", disable=None):
            for note in outcome.notes:
                logger.warning(note)
            if outcome.rows:
                measured.append(outcome)
    if not measured:
        raise UserError("none of the images could be measured")
    return measured


def _outcomes(files, plan, jobs) -> Iterator[Measured]:
    """The Measured of each file, in their order."""
    if jobs == 1:
        for path, name in files:
            yield measure(path, name, plan)
        return
    spawn = multiprocessing.get_context("spawn")
    # Read by the libraries of the workers when they start.
    os.environ["OMP_NUM_THREADS"] = str(max(1, os.cpu_count() // jobs))
    pool = concurrent.futures.ProcessPoolExecutor(jobs, spawn, _start_worker)
    try:
        for outcome in [pool.submit(measure, path, name, plan) for path, name in files]:
            yield outcome.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker():
    """End without a word on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def measure(path: str, name: str, plan: Plan) -> Measured:
    """The Measured of an image file; its rows are empty if it cannot be measured.

    path: of the file
    name: in the results
    plan: what is measured

    All codecs get the same pixels: 8-bit RGB or gray, without alpha and metadata.
    """
    measured = Measured(name)
    try:
        subject = _Subject(path, measured, plan)
        others = subject.measure_others()
        for trial in plan.trials:
            subject.measure_ours(trial, others)
        if plan.shown:
            measured.original, measured.thumbnail = lossless(subject.image), _thumbnail(subject.image)
    except (UserError, OSError, MemoryError, torch.cuda.OutOfMemoryError) as error:
        measured.rows.clear()
        message = " ".join(str(error).split()) or "not enough memory"
        measured.notes.append(f"left out: {message if path in message else f'{path}: {message}'}")
    return measured


class _Subject:
    """An image that is being measured."""

    def __init__(self, path, measured, plan):
        self.path, self.measured, self.plan = path, measured, plan
        self.image = picture.pixels(reading.read(path))
        measured.width, measured.height = self.image.size

    def measure_others(self):
        """Add the rows of the other codecs' curves; returns the rivals.Rival of those that take the image."""
        others = {}
        for other in map(rivals.load, self.plan.against):
            try:
                rival = rivals.Rival(other, self.image)
                rows = [self._row_of(rival, file) for file in rival.curve()]
            except rivals.RivalError as error:
                self.measured.notes.append(f"{self.path}: {error}")
                continue
            self.measured.rows += rows
            others[other.name] = rival
        return others

    def measure_ours(self, trial, others):
        """Add the row of our file; where it is shown, also those of the others' as large, and the pictures.

        Modes of one rate have no curve, and are compared with files of their size in any case.
        """
        file, decoded = self._our_file(trial)
        size, label = len(file.data), f"{trial.codec}, {trial.setting}"
        row = self._row(trial.codec, file, lambda metric: metrics.measure(metric, decoded, self.image))
        self.measured.rows.append(row)
        if trial not in self.plan.shown and trial.quality is not None:
            return
        nearest = {name: rival.nearest(size) for name, rival in others.items()}
        for name, other_file in nearest.items():
            row = self._row_of(others[name], other_file)
            self.measured.rows.append(row | {"same bytes as": label})
        if trial in self.plan.shown:
            _, decoder = _pair(trial.mode, trial.tune, self.plan.device, trial.engine)
            files = {trial.codec: lossless(decoded)} | {
                name: other_file.data for name, other_file in nearest.items()
            }
            self.measured.shown.append(Shown(label, heatmap.bits_per_position(file.data, decoder), files))

    def _our_file(self, trial):
        """The rivals.File of ours, and its decoded picture."""
        encoder, decoder = _pair(trial.mode, trial.tune, self.plan.device, trial.engine)
        began = time.perf_counter()
        data = codec.compress(self.image, encoder, quality=trial.quality, effort=trial.effort)
        encoded = time.perf_counter()
        decoded = codec.decompress(data, decoder)
        ended = time.perf_counter()
        psnr = metrics.psnr(decoded, self.image)
        return rivals.File(trial.setting, data, psnr, encoded - began, ended - encoded), decoded

    def _row_of(self, rival, file):
        return self._row(rival.codec.name, file, lambda metric: rival.value(file, metric))

    def _row(self, codec_name, file, value):
        """A row of a file of a codec; value: gives a metric of its picture by its name."""
        size = len(file.data)
        known = {metric: value(metric) for metric in (*metrics.ALWAYS, *self.plan.optional)}
        return {
            "image": self.measured.name,
            "codec": codec_name,
            "setting": file.setting,
            "same bytes as": None,
            "bytes": size,
            "bpp": _rounded(8 * size / (self.image.width * self.image.height), 8),
            **{name: _rounded(known.get(name), digits) for name, digits in DIGITS.items()},
            "encode s": _rounded(file.encode_seconds, 4),
            "decode s": _rounded(file.decode_seconds, 4),
        }


@functools.cache
def _pair(mode, tune, device, engine):
    """Our encoder and decoder of a mode, warm: the first file compiles the coder and is not to be timed."""
    encoder = pair.Encoder.load(shipped.path(mode, "encoder", tune), device, engine)
    decoder = pair.Decoder.load(shipped.path(mode, "decoder"), device, engine)
    codec.decompress(codec.compress(Image.new("RGB", (64, 64)), encoder), decoder)
    return encoder, decoder


def _rounded(value, digits):
    return value if value is None or math.isinf(value) else round(value, digits)


def lossless(image: Image.Image) -> bytes:
    """A WebP file of exactly these pixels; raises UserError where they are too many."""
    file = io.BytesIO()
    try:
        image.save(file, "WEBP", lossless=True, quality=60)
    except (OSError, ValueError) as error:
        raise UserError(f"too large for the WebP files of a page ({error})") from error
    return file.getvalue()


def _thumbnail(image):
    small, file = image.copy(), io.BytesIO()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(file, "WEBP", quality=80)
    return file.getvalue()
