"""The modes of the codec: the one table of what differs between them, and the rates that each has.

The rate t says how fine the quantization is: the step is 2^-t, so that one more of t halves it. A file's
header holds the number of its rate. Hard and soft mode have one rate, t = 0, whose number is B. The last
numbers of variable mode are beyond the rates that its networks are trained for. They have the rate of the
last one before them, and a detail layer whose quantization becomes finer. In the tune for the eye the first
of them have finer latents instead, which the networks take as those of their last rate, and the detail layer
comes later. Light: `decode.py --info` needs this table and no packages.
"""

import dataclasses

RATES_PER_HALVING = 64  # numbers from one step to the step half as large
# What an encoder makes the most of. All components of the first one's latents have the quantization step 1.
TUNES = ("psnr", "eye")
FIRST_STEP, STEPS_PER_HALVING = 16.0, 18  # of the detail layer: its coarsest step, in levels
# In the tune for the eye: how many numbers have finer latents before the layer, and by how much.
FINER, FINER_PER_HALVING, EYE_STEPS_PER_HALVING = 8, 16, 14
HIGHEST_RATE = 2.0  # that networks are trained for


@dataclasses.dataclass(frozen=True)
class Mode:
    """What is fixed for a mode.

    name: as --quantize_mode has it; code: its number in a file.
    bits: B of the quantizer, which has 2^B steps between 0 and 1 at t = 0.
    lambda_: weight of the distortion in the loss at t = 0, in bits per pixel for a squared error of one gray
    level.
    latents: how latents become integers, see `latents.KINDS`.
    numbers: all numbers, coarsest first; lowest_rate: t of the first.
    folder: of the shipped models, in models/.
    tunes: of TUNES, those that the shipped encoders are for, all with one decoder; tune: the default.
    detailed: the last of the numbers, which are beyond the rates of the networks.
    """

    name: str
    code: int
    bits: int
    lambda_: float
    latents: str
    numbers: range
    lowest_rate: float
    folder: str
    tunes: tuple[str, ...] = TUNES[:1]
    tune: str = TUNES[0]
    detailed: range = range(0)

    @property
    def undetailed(self) -> range:
        """The numbers of the rates that the networks are trained for."""
        return range(self.numbers.start, self.numbers.stop - len(self.detailed))

    @property
    def is_fixed(self) -> bool:
        """Whether there is one rate only."""
        return len(self.numbers) == 1

    def rate(self, number):
        """The rate t, a multiple of 1/64, of one of the numbers `undetailed`, or of a tensor of them."""
        return self.lowest_rate + (number - self.numbers.start) / RATES_PER_HALVING

    def without_detail(self, tune: str) -> range:
        """The numbers that have no detail layer in a tune, each of which has a rate of its own."""
        finer = FINER if self.detailed and tune == "eye" else 0
        return range(self.numbers.start, self.undetailed.stop + finer)

    def number(self, quality: float) -> int:
        """The number of the rate for a quality of 1 to 10, which may be a fraction."""
        return self.numbers.start + round((quality - 1) / 9 * (len(self.numbers) - 1))


MODES = {
    mode.name: mode
    for mode in (
        Mode(
            "hard",
            code=0,
            bits=2,
            lambda_=0.002,
            latents="dealt",
            numbers=range(2, 3),
            lowest_rate=0.0,
            folder="model_B=2",
        ),
        Mode(
            "soft",
            code=1,
            bits=10,
            lambda_=0.0034,
            latents="integers",
            numbers=range(10, 11),
            lowest_rate=0.0,
            folder="model_B=10",
        ),
        Mode(
            "variable",
            code=3,
            bits=10,
            lambda_=0.0067,
            latents="distances",
            numbers=range(241),
            lowest_rate=-1.25,
            folder="model_variable",
            tunes=("psnr", "eye"),
            tune="eye",
            detailed=range(209, 241),
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a picture is coded, as the header of its file says: in which mode, at which of the mode's rates,
    and with the quantization steps of which tune."""

    mode: Mode
    number: int
    tune: str = TUNES[0]

    @property
    def t(self) -> float:
        """The rate, which may be above HIGHEST_RATE: latents are finer then, and all else is as there."""
        last = self.mode.undetailed[-1]
        finer = min(self.number, self.mode.without_detail(self.tune)[-1]) - last
        return self.mode.rate(min(self.number, last)) + max(0, finer) / FINER_PER_HALVING

    @property
    def step(self) -> float | None:
        """The quantization step of the detail layer, in levels, or None where there is none."""
        first = self.mode.without_detail(self.tune).stop
        if self.number < first or not self.mode.detailed:
            return None
        per_halving = EYE_STEPS_PER_HALVING if self.tune == "eye" else STEPS_PER_HALVING
        return FIRST_STEP * 2 ** ((first - self.number) / per_halving)
