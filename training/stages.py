"""The stages of the long training: what each starts from, and its settings.

Each is a run of `train.py` in a folder of its name; `campaign.py` goes through them. Steps and not minutes
limit them, so that they end in the same weights however often they are interrupted. Sizes of
batches are those of each of two processes; two cores with bfloat16 take about 2,700 steps of everything an
hour, or 3,300 of the encoder alone.
"""

import dataclasses
import os

from engines import shipped


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of training.

    name: of its folder
    before: name of the stage that it comes after; where that is not run, and None, it starts from the shipped
    pair of its own mode
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


VARIABLE = {"quantize_mode": "variable", "batch_size": 8, "crop": 192, "lr": 7e-4}
LARGE = VARIABLE | {"batch_size": 4, "crop": 256}
WIDE = VARIABLE | {"batch_size": 2, "crop": 384}
# At a constant rate, since the end is far away; validation takes half a minute.
STEADY = {"decay": 0.0, "val_every": 1000}
ENCODER = {"part": "encoder", "lr": 1e-3}
DECODER = {"part": "decoder", "lr": 5e-4}
# At 5e-4 soft mode's decoder was worse after 291 steps, at 1e-4 better after 165.
GENTLY = DECODER | {"lr": 1e-4}
SOFT = {"quantize_mode": "soft", "batch_size": 8, "crop": 192, "lr": 5e-4}
HARD = SOFT | {"quantize_mode": "hard", "lr": 2e-4}

STAGES = (
    Stage("steady", VARIABLE | STEADY | {"steps": 36_000}),
    Stage("larger", LARGE | STEADY | {"steps": 50_000}, "steady", continues=True),
    Stage("decay", WIDE | {"steps": 60_000, "decay": 0.16}, "larger", continues=True),
    Stage("decoder", LARGE | DECODER | {"steps": 2_000}, "decay"),
    # The encoders once more, for the decoder that is final now.
    Stage("encoder", VARIABLE | ENCODER | {"steps": 3_000}, "decoder"),
    Stage("encoder_eye", VARIABLE | ENCODER | {"tune": "eye", "lr": 1.2e-3, "steps": 5_000}, "decoder"),
    Stage("soft", SOFT | {"steps": 5_000}, "encoder"),
    Stage("soft_decoder", SOFT | GENTLY | {"steps": 1_000}, "soft"),
    # The decoder first: all that is new to variable mode's networks is what it gets.
    Stage("hard_start", HARD | DECODER | {"lr": 3e-4, "steps": 2_000}, "encoder"),
    Stage("hard", HARD | {"steps": 3_000}, "hard_start"),
    Stage("hard_decoder", HARD | DECODER | {"lr": 2e-4, "steps": 1_000}, "hard"),
)
