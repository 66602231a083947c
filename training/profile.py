"""Where the time of a training step goes.

    python3 -m training.profile --quantize_mode variable --batch_size 12 --crop 192 --precision bfloat16

The shipped model is trained on noise. Prints seconds of the three parts of a step, and shares of the kinds of
operations.
"""

import argparse
import os
import time

import torch
from torch.profiler import ProfilerActivity, profile

import cli
from coding.modes import MODES
from engines import shipped
from training.loop import uses_bfloat16
from training.loss import RateDistortion, distortion
from training.optimizer import Optimizer
from training.settings import Settings
from training.start import from_pair

STEPS = 5  # that are measured, after one that is not
KINDS = {  # by parts of the names that PyTorch's profiler gives operations
    "convolutions": ("conv",),
    "matrix products": ("aten::mm", "addmm", "bmm"),
    "gathering of latents": ("index",),
}


def parse_args() -> Settings:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="profile.py", description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--quantize_mode", choices=MODES, default="variable", help="the mode (default: variable)")
    add("--batch_size", type=int, default=8, help="crops of a step (default: 8)")
    add("--crop", type=int, default=256, help="pixels a side (default: 256)")
    add("--precision", default="auto", choices=["auto", "float32", "bfloat16"], help="of the networks")
    options = vars(parser.parse_args())
    folder = os.path.dirname(shipped.path(options["quantize_mode"], "decoder"))
    return Settings(data=[], start_from=folder, **options)


class Step:
    """A step in its three parts."""

    def __init__(self, settings: Settings, device: torch.device):
        self.settings = settings
        self.model = RateDistortion(from_pair(settings, None)).to(device, memory_format=torch.channels_last)
        self.optimizer = Optimizer(self.model, settings.lr)
        self.x = torch.rand(settings.batch_size, 3, settings.crop, settings.crop, device=device)
        self.bfloat16 = uses_bfloat16(settings.precision, device)

    def forward(self):
        with torch.autocast(self.x.device.type, torch.bfloat16, enabled=self.bfloat16):
            bpp, mse, clipped = self.model(self.x)
            self.loss = distortion(mse, self.settings.lambda_) + bpp + clipped

    def backward(self):
        self.optimizer.zero_grad()
        self.loss.backward()

    def optimize(self):
        self.optimizer.step()

    @property
    def parts(self):
        """Names and functions of the parts, in their order."""
        return {"forward": self.forward, "backward": self.backward, "optimizer": self.optimize}


def seconds_of_parts(step: Step) -> dict[str, float]:
    """Mean seconds of each part."""
    seconds = dict.fromkeys(step.parts, 0.0)
    for number in range(STEPS + 1):
        for name, part in step.parts.items():
            start = time.monotonic()
            part()
            if step.x.is_cuda:
                torch.cuda.synchronize()
            seconds[name] += (time.monotonic() - start) / STEPS if number else 0
    return seconds


def shares_of_kinds(step: Step) -> tuple[dict[str, float], int]:
    """The share of time that each of KINDS takes before the optimizer, and the number of operations."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step.forward()
        step.backward()
    operations = [event for event in profiler.key_averages() if event.key.startswith("aten::")]
    total = sum(event.self_cpu_time_total for event in operations)
    shares = dict.fromkeys((*KINDS, "other operations"), 0.0)
    for event in operations:
        kinds = [kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)]
        shares[(*kinds, "other operations")[0]] += event.self_cpu_time_total / total
    return shares, sum(event.count for event in operations)


def main():
    settings, device = parse_args(), torch.device(cli.pick_device("auto"))
    step = Step(settings, device)
    seconds = seconds_of_parts(step)
    for name, value in seconds.items():
        print(f"{name:22} {value:8.3f} s")
    print(f"{'a step':22} {sum(seconds.values()):8.3f} s")
    shares, count = shares_of_kinds(step)
    print("\nof forward and backward pass:")
    for name, share in shares.items():
        print(f"{name:22} {100 * share:8.0f} %")
    print(f"{'operations':22} {count:8}")


if __name__ == "__main__":
    cli.run(main)
