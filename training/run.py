"""The state of a training run: what a step changes, and what a checkpoint keeps."""

import dataclasses
import io
import math
import os

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from coding.config import ModelConfig
from coding.errors import UserError
from coding.files import replacing
from training import start
from training.carried import Carried
from training.data import Crops
from training.loss import Networks, RateDistortion
from training.optimizer import Optimizer
from training.settings import DRY_RUN, Settings


class Diverged(UserError):
    """A run whose loss is not finite."""

    def __init__(self, run: "Run"):
        step, path = run.step, run.settings.path("last.pt")
        again = f"--resume from {path} with" if os.path.exists(path) else "start again with"
        super().__init__(
            f"the loss is not finite at step {step}; {again} a lower --lr than {run.settings.lr:g}, "
            "or --precision float32"
        )


class Run:
    """A run of training between two steps.

    settings: the Settings
    model: the RateDistortion that is trained
    average: AveragedModel of it, which is measured and exported
    optimizer: of its parameters
    step: steps done
    moments_since: the step that the optimizer's moments begin at: not the first one in a run that was
    carried
    elapsed: seconds that they took, of all calls together
    best: the least loss of a validation
    """

    def __init__(self, settings: Settings, rate_distortion: RateDistortion, device: torch.device):
        self.settings = settings
        self.model = rate_distortion.to(device, memory_format=torch.channels_last)
        self.average = averaged(self.model)
        self.optimizer = Optimizer(self.model, settings.lr, settings.decay)
        self.step, self.moments_since, self.elapsed, self.best = 0, 0, 0.0, math.inf

    @classmethod
    def begin(cls, settings: Settings, crops: Crops, device: torch.device) -> "Run":
        """A run before its first step, fitted to some of the crops."""
        pixels = crops.sample(settings.crops_of_start, np.random.default_rng(settings.seed)).cpu()
        return cls(settings, start.first_model(settings, pixels), device)

    @classmethod
    def carry_on(cls, settings: Settings, carried: Carried, device: torch.device) -> "Run":
        """The run that was carried here from another machine, without its moments."""
        networks, _ = start.networks_of_pair(settings.start_from)
        run = cls(settings, RateDistortion(networks, settings.part, settings.tune), device)
        run.model.load_state_dict(carried.weights)
        run.average.module.load_state_dict(carried.average)
        run.average.n_averaged.fill_(carried.step)
        run.step = run.moments_since = carried.step
        run.elapsed = carried.elapsed
        return run

    @classmethod
    def restore(cls, settings: Settings, saved: dict, device: torch.device) -> "Run":
        """The run of a checkpoint, with limits and learning rate of `settings`."""
        networks = Networks.untrained(ModelConfig(**saved["config"]))
        run = cls(settings, RateDistortion(networks, settings.part, settings.tune), device)
        run.model.load_state_dict(saved["model"])
        run.average.load_state_dict(saved["average"])
        run.optimizer.load_state_dict(saved["optimizer"])
        run.step, run.moments_since = saved["step"], saved["moments_since"]
        run.elapsed, run.best = saved["elapsed"], saved["best"]
        return run

    @property
    def progress(self) -> float:
        """The share of the run that is done, 1 or more at its end."""
        return self.settings.progress(self.step, self.elapsed)

    def set_learning_rate(self, progress: float):
        """Give the optimizer its learning rate at `progress` in [0, 1]."""
        went_on = {"again": self.step - self.moments_since} if self.moments_since else {}
        self.optimizer.set_learning_rate(progress, **went_on)

    def advance(self, seconds: float):
        """Count a step that took `seconds`, and let the average follow it."""
        self.average.update_parameters(self.model)
        self.step += 1
        self.elapsed += seconds

    def is_finite(self) -> bool:
        """Whether weights, average and moments are; waits for the device once."""
        parts = [part["state"].values() for part in self.optimizer.state_dict()]
        moments = [moment for part in parts for state in part for moment in state.values()]
        tensors = [*self.model.state_dict().values(), *self.average.state_dict().values(), *moments]
        return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())

    def save(self):
        """Write last.pt, from which `restore` goes on bit for bit."""
        save_checkpoint(
            self.settings.path("last.pt"),
            {
                "config": dataclasses.asdict(self.model.config),
                "tune": self.settings.tune,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "moments_since": self.moments_since,
                "elapsed": self.elapsed,
                "lambda": self.settings.lambda_,
                "best": self.best,
            },
        )

    def save_best(self, loss: float):
        """Write best.pt, the average, whose `loss` is the least of all validations."""
        self.best = loss
        config = dataclasses.asdict(self.model.config)
        save_checkpoint(
            self.settings.path("best.pt"), {"config": config, "model": self.average.module.state_dict()}
        )

    def best_model(self) -> RateDistortion:
        """The average of best.pt, or that of the last step where nothing is validated.

        Raises Diverged where no validation gave a finite loss.
        """
        if self.settings.val:
            if self.best == math.inf:
                raise Diverged(self)
            device = next(self.average.parameters()).device
            saved = torch.load(self.settings.path("best.pt"), map_location=device, weights_only=True)
            self.average.module.load_state_dict(saved["model"])
        return self.average.module


def averaged(rate_distortion: RateDistortion) -> AveragedModel:
    """An exponential moving average of the weights, over some 1,000 steps and fewer at the start."""

    def average(mean, value, count):
        if not value.is_floating_point():
            return value
        return torch.lerp(value, mean, torch.clamp((1 + count) / (10 + count), max=0.999).to(value.dtype))

    return AveragedModel(rate_distortion, avg_fn=average, use_buffers=True)


def read_checkpoint(settings: Settings) -> dict | None:
    """The content of last.pt if the run is to be resumed from it, or None for a new run.

    Raises UserError where a new run would overwrite one, and where last.pt is damaged, or of another mode,
    tune or lambda.
    """
    path = settings.path("last.pt")
    if not os.path.exists(path):
        return None
    if not settings.resume:
        if settings.output_dir == DRY_RUN:
            return None
        raise UserError(f"{path}: a run is there; add --resume, or choose another --output_dir")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        mode, tune, lambda_ = saved["config"]["quantize_mode"], saved["tune"], saved["lambda"]
    except OSError:
        raise
    except Exception as error:  # torch.load fails in many ways on a foreign file
        raise UserError(f"{path}: not a checkpoint of train.py") from error
    if mode != settings.quantize_mode:
        raise UserError(f"{path} is of --quantize_mode={mode}")
    if tune != settings.tune:
        raise UserError(f"{path} is of --tune={tune}")
    if lambda_ != settings.lambda_:  # with which losses cannot be compared
        raise UserError(f"{path} is of --lambda={lambda_}")
    return saved


def save_checkpoint(path: str, state: dict):
    """Write `state` to `path`, whole or not at all; raises UserError where there is no room."""
    content = io.BytesIO()
    torch.save(state, content)
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(content.getbuffer())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a checkpoint that was there before is whole") from error
