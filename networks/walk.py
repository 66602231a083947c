"""The walk through the latents of a batch in the order of `coding/order.py`, for training and search.

Positions lie in rows here, (N, P, C), and channels in columns. `coding/walk.py` is the one for coding.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import torch

from coding import order
from networks import relaxed


class Canvas:
    """The latents of rows x columns positions that are known so far, by slices; zero where none is."""

    def __init__(
        self,
        batch: int,
        rows: int,
        columns: int,
        slices: Sequence[int],
        device: torch.device | str = "cpu",
    ):
        self.rows, self.columns = rows, columns
        self._stride = columns + 2 * order.REACH
        shapes = [(batch, (rows + 2 * order.REACH) * self._stride, channels) for channels in slices]
        self._values = [torch.zeros(shape, device=device) for shape in shapes]
        self._logs = [torch.zeros(shape, device=device) for shape in shapes]

    def positions(self, places: tuple) -> torch.Tensor:
        """Numbers, int64 (P,), of the positions at `places` of each 2x2 square."""
        grid = torch.arange(self.rows * self.columns, device=self._values[0].device)
        grid = grid.view(self.rows, self.columns)
        return torch.cat([grid[row::2, column::2].flatten() for row, column in places])

    def _padded(self, positions):
        return (
            (positions // self.columns + order.REACH) * self._stride + positions % self.columns + order.REACH
        )

    def put(
        self,
        index: int,
        positions: torch.Tensor,
        values: torch.Tensor,
    ) -> None:
        """Keep latents (N, P, C) of slice `index` at positions (P,); autograd follows them where it is on."""
        padded = self._padded(positions)
        logs = relaxed.signed_log(values).float()
        if torch.is_grad_enabled():
            self._values[index] = self._values[index].index_copy(1, padded, values)
            self._logs[index] = self._logs[index].index_copy(1, padded, logs)
        else:
            self._values[index].index_copy_(1, padded, values.float())
            self._logs[index].index_copy_(1, padded, logs)

    def _gather(self, planes, sources, positions):
        padded, parts = self._padded(positions)[:, None], []
        for index, offsets in sources:
            plane = planes[index]
            moved = padded + _moves(offsets, self._stride, padded.device)
            around = plane.index_select(1, moved.flatten())  # (N, P * offsets, C)
            parts.append(around.view(len(plane), len(positions), len(offsets) * plane.shape[2]))
        return torch.cat(parts, 2)

    def values_around(self, sources: tuple, positions: torch.Tensor) -> torch.Tensor:
        """Latents (N, P, S) around positions (P,), of `sources` as of a Step."""
        return self._gather(self._values, sources, positions)

    def logs_around(self, sources: tuple, positions: torch.Tensor) -> torch.Tensor:
        """`relaxed.signed_log` of `values_around`."""
        return self._gather(self._logs, sources, positions)

    def latents(self) -> torch.Tensor:
        """All latents, float32 (N, K, rows, columns)."""
        inner = slice(order.REACH, -order.REACH)
        padded = torch.cat(self._values, 2).unflatten(1, (self.rows + 2 * order.REACH, self._stride))
        return padded[:, inner, inner].permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=256)
def _moves(offsets, stride, device):
    """How far offsets (row, column) lead in a padded plane, int64 (O,); kept, for a CUDA graph makes none."""
    return torch.tensor([dy * stride + dx for dy, dx in offsets], device=device)


def to_rows(latents: torch.Tensor) -> torch.Tensor:
    """Latents (N, C, h, w) with positions in rows, (N, h * w, C)."""
    return latents.flatten(2).transpose(1, 2)


def from_rows(rows: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Latents (N, C, h, w) of rows (N, h * w, C); shape: (h, w)."""
    return rows.transpose(1, 2).unflatten(2, shape)


@dataclasses.dataclass(frozen=True)
class Group:
    """Latents that are coded together: those that a step takes.

    positions: int64 (P,); mean: (N, P, C), what the entropy model says of them.
    log_scale: (N, P, C), log2 of the deviation in quantization steps; delta: (N, 1, C), these steps.
    """

    step: order.Step
    positions: torch.Tensor
    mean: torch.Tensor
    log_scale: torch.Tensor
    delta: torch.Tensor

    def of(self, slices: Sequence[torch.Tensor]) -> torch.Tensor:
        """The values (N, P, C) that all `slices` of latents, each (N, h * w, C), have in this group."""
        return slices[self.step.slice].index_select(1, self.positions)

    def distance(self, latents: torch.Tensor) -> torch.Tensor:
        """How far latents (N, P, C) are from the mean, in quantization steps."""
        return (latents - self.mean) / self.delta

    def latents(self, distance: torch.Tensor) -> torch.Tensor:
        """The latents at a distance from the mean in quantization steps, both (N, P, C)."""
        return self.mean + distance * self.delta


class Walk:
    """The groups of a picture's latents in the order of coding.

    The next group depends on the quantized latents of this, which must have been put by then:

        walk = Walk(entropy_model, z, (h, w), t, tune)
        for group in walk:
            walk.put(group, group.latents(distance))  # (N, P, C)
        y = walk.latents()                          # (N, K, h, w)
    """

    def __init__(
        self,
        entropy_model: torch.nn.Module,
        z: torch.Tensor,
        shape: tuple[int, int],
        t: torch.Tensor,
        tune: str,
    ):
        """z: quantized hyper-latents (N, Z, ceil(h/4), ceil(w/4)); shape: (h, w); t: rates (N,).

        tune: of modes.TUNES, whose quantization steps are taken
        """
        self._entropy_model, self._t = entropy_model, t
        self._log_steps = entropy_model.log_steps(tune, t)[:, None].split(entropy_model.slices, 2)
        features = entropy_model.features(z, t)[:, :, : shape[0], : shape[1]]
        self._features = to_rows(features).contiguous()  # (N, h * w, width)
        self._canvas = Canvas(len(z), *shape, entropy_model.slices, z.device)

    def __iter__(self) -> Iterator[Group]:
        for step in self._entropy_model.steps:
            positions = self._canvas.positions(step.places)
            features = self._features.index_select(1, positions)
            mean, log_scale = self._entropy_model.parameters_of(
                step, features, self._canvas, positions, self._t
            )
            log_step = self._log_steps[step.slice]  # (N, 1, C)
            in_steps = self._entropy_model.in_steps(log_scale, log_step)
            yield Group(step, positions, mean, in_steps, torch.exp2(log_step))

    def put(self, group: Group, latents: torch.Tensor) -> None:
        """Tell what the latents (N, P, C) of a group are once they are quantized."""
        self._canvas.put(group.step.slice, group.positions, latents)

    def latents(self) -> torch.Tensor:
        """The quantized latents, float32 (N, K, h, w), when the walk is over."""
        return self._canvas.latents()
