"""What must be known of a model before its weights can be used."""

import dataclasses

from coding import latents, modes, packing


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The configuration of a pair of transforms and their entropy model; it lies in the files of both.

    quantize_mode: "hard", "soft" or "variable".
    digits: for each of the K components of the latents 1, or in soft mode 0 where it shares the integer of
    the component before it, see `packing.py`.
    trunk_widths: channels of the analysis transform's trunk at strides 4, 8 and 16.
    added_blocks: blocks that the analysis transform has more than ResNet18 at strides 4, 8 and 16: residual
    blocks, and at stride 16 bottlenecks.
    stages: of the synthesis transform, for strides 16, 8, 4, 2 or as many of them as there are: channels,
    residual blocks and bottlenecks of each.
    slices: components that are coded together, K in all, coarse ones first.
    entropy_widths: channels of z, of the features from it, and of the layers that give mean and scale.

    Raises ValueError for what cannot be meant: a file must not ask for the memory of a million channels.
    """

    quantize_mode: str
    digits: tuple
    trunk_widths: tuple
    added_blocks: tuple
    stages: tuple
    slices: tuple
    entropy_widths: tuple

    def __post_init__(self):
        if self.quantize_mode not in modes.MODES:
            raise ValueError("no such mode")
        if len(self.digits) > 1024 or not _are_counts(self.digits, 0, 1):
            raise ValueError("digits out of range")
        if self.quantize_mode != "soft" and not all(self.digits):
            raise ValueError("digits out of range")
        packing.groups(self.digits, self.B)  # which raises ValueError too
        if len(self.trunk_widths) != 3 or not _are_counts(self.trunk_widths, 1, 1024):
            raise ValueError("trunk_widths out of range")
        if len(self.added_blocks) != 3 or not _are_counts(self.added_blocks, 0, 16):
            raise ValueError("added_blocks out of range")
        if not 1 <= len(self.stages) <= 4 or not all(_is_stage(stage) for stage in self.stages):
            raise ValueError("stages out of range")
        if (
            len(self.slices) > 16
            or not _are_counts(self.slices, 1, 1024)
            or sum(self.slices) != self.channels
        ):
            raise ValueError("slices do not cover the latents")
        if self.slices[0] > 128:  # its neighbours are summed exactly, see `exact.py`
            raise ValueError("the first slice is too large")
        if len(self.entropy_widths) != 3 or not _are_counts(self.entropy_widths, 1, 1024):
            raise ValueError("entropy_widths out of range")

    @property
    def mode(self) -> modes.Mode:
        """The row of `modes.py`."""
        return modes.MODES[self.quantize_mode]

    @property
    def B(self) -> int:
        """Bits of the quantizer."""
        return self.mode.bits

    @property
    def channels(self) -> int:
        """K, the components of the latents."""
        return len(self.digits)

    @property
    def kind(self) -> latents.Kind:
        """How the latents become integers."""
        return latents.KINDS[self.mode.latents](self.digits, self.B)


def _are_counts(values, least, most):
    return len(values) >= 1 and all(type(n) is int and least <= n <= most for n in values)


def _is_stage(stage):
    """Whether these are channels, residual blocks and bottlenecks."""
    return len(stage) == 3 and _are_counts(stage[:1], 1, 1024) and _are_counts(stage[1:], 0, 16)


def from_lists(fields: dict) -> ModelConfig:
    """The configuration in what JSON makes of `dataclasses.asdict`; raises ValueError or TypeError."""
    return ModelConfig(**{name: _to_tuple(value) for name, value in fields.items()})


def _to_tuple(value):
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value
