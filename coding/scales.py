"""Levels of the scale, that of a Laplace distribution that the entropy model gives: quarters of an octave.

They choose adaptive models, and in hard mode how many integers a latent gets. Part of the format.
"""

import numpy as np

from coding.entropy_model import HIGHEST_LOG_SCALE

# Where the scale is smaller, a distance from the mean is coded as zero, with no bits: part of the format, as
# the dead zone is not.
LEAST_LOG_SCALE = -3.625
LEVELS_PER_OCTAVE = 4
LEVELS = int((HIGHEST_LOG_SCALE - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE + 0.5)


def level_of(log_scale):
    """Levels, whole numbers in an array like that of the log2 scales, which may be NumPy's or PyTorch's;
    negative below LEAST_LOG_SCALE."""
    return ((log_scale - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE - 0.5).round()


def index_of(log_scale: np.ndarray) -> np.ndarray:
    """The same for tables by level, int64: 0 for all that are below."""
    return level_of(log_scale).astype(np.int64).clip(0)


def log_scale_of(level: float) -> float:
    """The log2 scale in the middle of a level."""
    return LEAST_LOG_SCALE + (level + 0.5) / LEVELS_PER_OCTAVE
