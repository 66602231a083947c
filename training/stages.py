"""The stages of the long training: what each starts from, and its settings.

Each is a run of `train.py` in a folder of its name; `campaign.py` goes through them. Steps and not minutes
limit them, so that they end in the same weights however often they are interrupted. Sizes of
batches are those of each of two processes; two cores take about 2,700 steps of everything an hour, or 3,300
of the encoder alone.
"""

import dataclasses
import os

from engines import shipped


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of training.

    name: of its folder
    before: name of the stage that it comes after; None for the shipped pair of the mode
    continues: whether it goes on with that stage's run, its moments and its steps, or starts a run of its own
    from the pair that it gave
    settings: fields of settings.Settings
    """

    name: str
    settings: dict
    before: str | None = None
    continues: bool = False

    def start_from(self, output_dir: str) -> str:
        """The folder of the pair that it starts from, where its campaign writes to `output_dir`."""
        if self.before is None:
            return os.path.dirname(shipped.path(self.settings["quantize_mode"], "decoder"))
        return os.path.join(output_dir, self.before)


VARIABLE = {"quantize_mode": "variable", "batch_size": 8, "crop": 192}
LARGE = VARIABLE | {"batch_size": 4, "crop": 256}
WIDE = VARIABLE | {"batch_size": 2, "crop": 384}
STEADY = {"decay": 0.0}  # a constant rate, from which short branches show what has been reached
ENCODER = {"part": "encoder"}
DECODER = {"part": "decoder", "lr": 5e-4}
SOFT = {"quantize_mode": "soft", "batch_size": 8, "crop": 192, "lr": 4e-4}
HARD = SOFT | {"quantize_mode": "hard"}

STAGES = (
    # The entropy model sees the noise again that its last stage did without.
    Stage("entropy", VARIABLE | {"part": "entropy", "steps": 500}),
    Stage("steady_6h", VARIABLE | STEADY | {"steps": 16_000}, "entropy"),
    Stage("branch_6h", LARGE | {"steps": 17_500, "decay": 0.09}, "steady_6h", continues=True),
    Stage("branch_6h_decoder", LARGE | DECODER | {"steps": 1_000}, "branch_6h"),
    Stage("steady_12h", VARIABLE | STEADY | {"steps": 32_000}, "steady_6h", continues=True),
    Stage("branch_12h", LARGE | {"steps": 33_500, "decay": 0.045}, "steady_12h", continues=True),
    Stage("branch_12h_decoder", LARGE | DECODER | {"steps": 1_000}, "branch_12h"),
    Stage("steady_20h", LARGE | STEADY | {"steps": 52_000}, "steady_12h", continues=True),
    Stage("decay", WIDE | {"steps": 62_000, "decay": 0.16}, "steady_20h", continues=True),
    Stage("decoder", LARGE | DECODER | {"steps": 2_000}, "decay"),
    # The encoders once more, for the decoder that is final now.
    Stage("encoder", VARIABLE | ENCODER | {"steps": 3_000}, "decoder"),
    Stage("encoder_eye", VARIABLE | ENCODER | {"tune": "eye", "lr": 1.2e-3, "steps": 5_000}, "decoder"),
    Stage("soft", SOFT | {"steps": 5_000}),
    Stage("soft_decoder", SOFT | DECODER | {"steps": 1_000}, "soft"),
    Stage("hard", HARD | {"steps": 5_000}),
    Stage("hard_decoder", HARD | DECODER | {"steps": 1_000}, "hard"),
)
