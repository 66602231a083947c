"""What a training run is asked for: a field for each option of `train.py`."""

import dataclasses
import math
import os

from coding.errors import UserError
from coding.modes import MODES, TUNES
from coding.order import HYPER_STRIDE
from coding.tiles import STRIDE
from training import drawn

PARTS = ("all", "encoder", "decoder", "entropy")
MULTIPLE = STRIDE * HYPER_STRIDE  # pixels; sides of crops and of validation images are multiples of it
DRY_RUN = os.path.join("runs", "dry-run")  # the one folder whose run is overwritten
DRY_RUN_IMAGES = 16
CROPS_OF_START = 256  # the start is fitted to them


@dataclasses.dataclass
class Settings:
    """The settings of a run. Raises UserError for those that contradict each other.

    data: folders and tar files of training images
    quantize_mode: "hard", "soft" or "variable"
    val: folders and tar files of images to measure on, or None
    lambda_: weight of the distortion, of t = 0 in variable mode; None for the mode's own
    output_dir: folder of everything that is written; None for one of the mode's name in runs/
    init: the trunk at the start, "imagenet" for torchvision's weights or "random"
    start_from: folder of a trained pair to start from instead, or None
    part: what is trained: "all", "encoder" (the analysis transform, for the decoder as it is), "decoder"
    (synthesis and entropy model, on rounded latents) or "entropy" (the entropy model)
    tune: what it is trained for, of modes.TUNES
    steps, minutes: limits; the learning rate follows whichever is nearer
    batch_size: crops of a step in each process
    crop: side of a crop in pixels, a multiple of MULTIPLE
    lr: peak of the learning rate, that of the transforms' convolutions
    decay: share of the run, at its end, in which the learning rate falls to zero
    val_every: steps between validations and checkpoints
    seed: of crops, noise and random weights
    precision: of the networks, "auto", "float32" or "bfloat16"
    resume: go on from last.pt in output_dir if it is there
    dry_run: two steps on a few images
    """

    data: list[str]
    quantize_mode: str
    val: list[str] | None = None
    lambda_: float | None = None
    output_dir: str | None = None
    init: str = "imagenet"
    start_from: str | None = None
    part: str = "all"
    tune: str = TUNES[0]
    steps: int = 100_000
    minutes: float = math.inf
    batch_size: int = 8
    crop: int = 256
    lr: float = 1e-3
    decay: float = 1.0
    val_every: int = 500
    seed: int = 0
    precision: str = "auto"
    resume: bool = False
    dry_run: bool = False

    def __post_init__(self):
        if self.crop % MULTIPLE or not 0 < self.crop <= drawn.SIDE:
            raise UserError(f"--crop must be a multiple of {MULTIPLE}, at most {drawn.SIDE}")
        if min(self.steps, self.minutes, self.batch_size, self.val_every) <= 0:
            raise UserError("--steps, --minutes, --batch_size and --val_every must be positive")
        if not 0 <= self.decay <= 1:
            raise UserError("--decay must be from 0 to 1")
        if self.part == "encoder" and not self.start_from:
            raise UserError("--part=encoder needs --start_from, whose decoder it is for")
        if self.dry_run and self.resume:
            raise UserError("--dry-run goes on from nothing; leave --resume out")
        if self.dry_run:
            self.steps, self.batch_size = 2, 2
        self.lambda_ = self.lambda_ or MODES[self.quantize_mode].lambda_
        self.output_dir = self.output_dir or (
            DRY_RUN if self.dry_run else os.path.join("runs", self.quantize_mode)
        )

    @property
    def image_limit(self) -> int | None:
        """Images to read at most from `data`, and from `val`."""
        return DRY_RUN_IMAGES if self.dry_run else None

    @property
    def crops_of_start(self) -> int:
        """The number of crops that the start is fitted to."""
        return 8 if self.dry_run else CROPS_OF_START

    def path(self, name: str) -> str:
        """The path of the file `name` of the run."""
        return os.path.join(self.output_dir, name)

    def progress(self, step: int, seconds: float) -> float:
        """The share of the run, 1 or more at its end, that `step` steps in `seconds` are."""
        return max(step / self.steps, seconds / 60 / self.minutes)
