"""The entropy model as it codes: where the probability of every latent comes from, in exact arithmetic.

    z (h/4, w/4, Z), coded first -> features at stride 16
    then latents y (h, w, K), group by group in the order of `order.py`:
    features, latents around that are known -> mean and log2 scale of a Laplace distribution

z, the hyper-latents, is a hyperprior with means and scales (Minnen, Balle and Toderici 2018, "Joint
autoregressive and hierarchical priors for learned image compression"). Latents are in units of the
quantization step, which depends on the rate t, so the model knows t too. `networks/entropy_model.py` is the
network that training has; its trained weights come here through `freeze`. Positions lie in rows, (P, C).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from coding import exact, order
from coding.modes import HIGHEST_RATE, TUNES
from coding.walk import Canvas

LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -5.0, 7.0
LOG_STEP = "log_step."  # how names of tables of quantization steps begin; a tune follows
MOST_LOG_STEP = 1.5  # magnitude of log2 of a component's quantization step that a table may say
LOG_STEPS_PER_OCTAVE = 4  # as many as there are levels of scale, so that a step moves a scale by whole ones
BAND = (
    1 << 22
)  # numbers of a convolution's input that are looked at together, so that they need little memory
LAYERS = ("from_features", "from_known", "residual1", "residual2", "last")  # exact in float32


def weight_shapes(
    slices: Sequence[int], widths: tuple[int, int, int], tunes: Sequence[str] = TUNES[:1]
) -> dict[str, tuple]:
    """The names and shapes of all weights.

    widths: channels of z, of the features, and of what follows
    tunes: of modes.TUNES, each of which but the first has a table of quantization steps
    """
    hyper_channels, width, hidden = widths
    shapes = {LOG_STEP + tune: (3, sum(slices)) for tune in tunes[1:]}
    shapes |= {
        "z_mean": (3, hyper_channels),
        "z_log_scale": (3, hyper_channels),
        "spread": (3, sum(slices)),
        "rate1": (3, width),
    }
    convolutions = (
        (width, hyper_channels, 3),
        (4 * width, width, 1),
        (width, width, 3),
        (4 * width, width, 1),
    )
    for number, (outputs, inputs, side) in enumerate(convolutions, 1):
        shapes |= {
            f"hyper{number}.weight": (outputs, inputs, side, side),
            f"hyper{number}.bias": (outputs,),
        }
    for step in order.coding_steps(len(slices)):
        known = sum(slices[index] * len(offsets) for index, offsets in step.sources)
        shapes[f"rate2.{step.number}"] = (3, hidden)
        shapes |= _layer_shapes(f"from_features.{step.number}", width, hidden)
        if known:
            shapes[f"from_known.{step.number - 1}.weight"] = (hidden, known)
        if known and step.slice == 0:
            shapes[f"prediction.{step.number - 1}.weight"] = (slices[0], known)
    for index, count in enumerate(slices):
        shapes |= _layer_shapes(f"residual1.{index}", hidden, hidden)
        shapes |= _layer_shapes(f"residual2.{index}", hidden, hidden)
        shapes |= _layer_shapes(f"last.{index}", hidden, 2 * count)
    return shapes


def _layer_shapes(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def freeze(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Trained weights brought to the grids of exact arithmetic, float64, by their names."""
    frozen = {}
    for name, weight in weights.items():
        layer, kind = name.rpartition(".")[::2]
        if not name.startswith(LAYERS):
            frozen[name] = exact.freeze(weight)
        elif kind == "weight":
            no_bias = np.zeros(len(weight))
            frozen[name], bias = exact.freeze_rows(weight, weights.get(f"{layer}.bias", no_bias))
            if f"{layer}.bias" in weights:
                frozen[f"{layer}.bias"] = bias
    return frozen


class EntropyModel:
    """Mean and log2 scale of z and of the latents of one picture.

    t is the rate: 0 where the quantization step is one unit of the latents, one more for each halving.
    """

    def __init__(self, slices: Sequence[int], weights: Mapping[str, np.ndarray]):
        """slices: channels of each; weights: frozen, of any float type that holds them."""
        self.slices, self.steps = tuple(slices), order.coding_steps(len(slices))
        self.weights = {name: np.asarray(weight) for name, weight in weights.items()}
        self._whole, self._layers = exact.whole_dtype(), {}

    @property
    def tunes(self) -> tuple[str, ...]:
        """Those of modes.TUNES whose latents it can code: the first, whose quantization steps are all one,
        and those it has a table for."""
        return TUNES[0], *(tune for tune in TUNES[1:] if LOG_STEP + tune in self.weights)

    def log_steps(self, tune: str, t: float) -> np.ndarray:
        """log2 of the quantization step of each component, (K,), of a tune at rate t, in quarters.

        They are the same for all pictures, and become smaller above HIGHEST_RATE. Raises KeyError for a tune
        that is not among `tunes`.
        """
        if tune == TUNES[0]:
            return np.zeros(sum(self.slices))
        of_table = self._polynomial(self._float64(LOG_STEP + tune), t)
        return in_quarters(of_table, max(0, t - HIGHEST_RATE))

    def _float64(self, name):
        return self.weights[name].astype(np.float64)

    @staticmethod
    def _polynomial(coefficients, t):
        """What coefficients (3, C) give at a rate that the networks know, (C,)."""
        return exact.polynomial(coefficients, min(t, HIGHEST_RATE))

    def _slice_of(self, name, index):
        """The coefficients (3, C) of a slice's channels."""
        first = sum(self.slices[:index])
        return self._float64(name)[:, first : first + self.slices[index]]

    def _layer(self, name, inputs):
        """The outputs, float64 (P, O), of a float32 layer for inputs (P, I) on their grid."""
        if name not in self._layers:
            weight = self.weights[f"{name}.weight"].astype(self._whole).T
            self._layers[name] = np.ascontiguousarray(weight), self.weights.get(f"{name}.bias")
        weight, bias = self._layers[name]
        outputs = (inputs.astype(self._whole, copy=False) @ weight).astype(np.float64)
        return outputs if bias is None else np.add(outputs, bias, out=outputs)

    @staticmethod
    def in_steps(log_scale: np.ndarray, log_step: np.ndarray) -> np.ndarray:
        """log2 scales (P, C) in quantization steps, of log2 of these (C,)."""
        return bounded(log_scale - log_step) if log_step.any() else log_scale

    def hyper_parameters(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log2 scale of z, the same at every position, each (Z,)."""
        mean, log_scale = (self._polynomial(self._float64(name), t) for name in ("z_mean", "z_log_scale"))
        return mean, bounded(log_scale)

    def features(self, z: np.ndarray, t: float) -> np.ndarray:
        """What z tells, float32 (4 h, 4 w, width), of quantized z (h, w, Z)."""
        x = self._convolve("hyper1", exact.signed_log(z), self._polynomial(self._float64("rate1"), t))
        x = _shuffle(self._convolve("hyper2", x))
        return _shuffle(self._convolve("hyper4", self._convolve("hyper3", x)))

    def _convolve(self, name, x, shift=0):
        """An activated convolution, float32 (h, w, O), of x (h, w, I), which is padded with zeros.

        Band by band of rows, since the patches of a large picture are large.
        """
        weight, bias = self._float64(f"{name}.weight"), self._float64(f"{name}.bias") + shift
        side = weight.shape[2]
        rows, columns = x.shape[:2]
        weight = weight.transpose(2, 3, 1, 0).reshape(-1, len(bias))  # (side * side * I, O)
        margin = side // 2
        padded = np.pad(x, ((margin, margin), (margin, margin), (0, 0)))
        out = np.empty((rows, columns, len(bias)), np.float32)
        height = max(1, BAND // (columns * len(weight)))
        for top in range(0, rows, height):
            band = min(height, rows - top)
            moved = [
                padded[top + dy : top + dy + band, dx : dx + columns]
                for dy in range(side)
                for dx in range(side)
            ]
            patches = np.concatenate(moved, 2).astype(np.float64)  # (band, w, side * side * I)
            out[top : top + band] = exact.activate(patches @ weight + bias)
        return out

    def parameters_of(
        self,
        step: order.Step,
        features: np.ndarray,
        canvas: Canvas,
        positions: np.ndarray,
        t: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log2 scale, settled, each (P, C), of what a step codes at positions (P,).

        features: those of the positions, (P, width).
        canvas: the latents that are known; only what earlier steps coded is read.
        """
        x, mean = self._layer(f"from_features.{step.number}", features), 0
        x += self._polynomial(self._float64(f"rate2.{step.number}"), t)
        if step.sources:
            x += self._layer(f"from_known.{step.number - 1}", canvas.logs_around(step.sources, positions))
            if step.slice == 0:
                # The coarsest components of neighbours, brightness above all, are alike in themselves.
                around = canvas.values_around(step.sources, positions).astype(np.float64)
                mean = around @ self._float64(f"prediction.{step.number - 1}.weight").T
        x = exact.activate(x)
        inner = exact.activate(self._layer(f"residual1.{step.slice}", x))
        x = exact.activate(x + self._layer(f"residual2.{step.slice}", inner))
        shift, log_scale = np.split(self._layer(f"last.{step.slice}", x), 2, 1)
        spread = self._polynomial(self._slice_of("spread", step.slice), t)
        mean = exact.settle(mean + shift * exact.power_of_two(spread))
        return mean, exact.settle(bounded(log_scale + spread))


def in_quarters(of_table, finer):
    """log2 of quantization steps on the grid of the format; both NumPy arrays, or tensors, that broadcast.

    of_table: what a table says, brought to its range here; finer: by how much they are smaller
    """
    log_step = of_table.clip(-MOST_LOG_STEP, MOST_LOG_STEP) - finer
    return (log_step * LOG_STEPS_PER_OCTAVE).round() / LOG_STEPS_PER_OCTAVE


def bounded(log_scale: np.ndarray) -> np.ndarray:
    """log2 scales, of any shape, brought to their range."""
    return np.clip(log_scale, LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE)


def _shuffle(x):
    """Pixel shuffle: (2 h, 2 w, C) of x (h, w, 4 C)."""
    rows, columns, channels = x.shape
    squares = x.reshape(rows, columns, channels // 4, 2, 2).transpose(0, 3, 1, 4, 2)
    return squares.reshape(2 * rows, 2 * columns, channels // 4)
