"""Which components of soft mode's latents share an integer in [0, 2^B]."""

import itertools

import torch
from torch.nn import functional as F

from coding import packing
from coding.errors import UserError


def share(y: torch.Tensor, B: int, room: int) -> tuple[int, ...]:
    """The `digits`, see `coding/packing.py`, with which neighbours share integers and clipping is least.

    y: components (K, L), in steps around zero
    room: integers for all of them

    Least is the squared error, by dynamic programming over the components. Raises UserError where there is
    no room for so many.
    """
    count, room = len(y), min(room, len(y))
    sizes = [size for size in range(1, count + 1) if packing.levels(size, B) >= 3]
    errors = torch.stack([clip_errors(y, packing.levels(size, B)) for size in sizes]).double()
    sums = F.pad(errors.cumsum(1), (1, 0)).tolist()  # [sizes][K + 1]: of the components before
    best = {(0, 0): (0.0, ())}  # (-error, digits) of so many components in so many integers
    for done, used in itertools.product(range(count), range(room)):
        if (done, used) not in best:
            continue
        gain, digits = best[done, used]
        for size, of_size in zip(sizes, sums):
            end = done + size, used + 1
            if end[0] <= count:
                found = gain + of_size[done] - of_size[end[0]], (*digits, 1, *(0,) * (size - 1))
                best[end] = max(best.get(end, found), found)
    if (count, room) not in best:
        raise UserError(f"{count} components do not fit into {room} integers")
    return best[count, room][1]


def clip_errors(y: torch.Tensor, levels: int) -> torch.Tensor:
    """The mean square, (K,), of what so many levels around zero clip of components y (K, L)."""
    return (y - y.clamp(-levels / 2, levels / 2)).square().mean(1)
