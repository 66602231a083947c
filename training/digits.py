"""Which components of the latents get how many integers in [0, 2^B], and which share one.

`allocate` is for hard mode, whose few levels want several integers for a wide component, `share` for soft
mode, whose many levels hold several components.
"""

import itertools

import torch
from torch.nn import functional as F

from coding import packing
from coding.errors import UserError


def allocate(y: torch.Tensor, base: int, room: int, most: int = 4) -> list[int]:
    """The number of digits for each component.

    y: components (K, L), in steps around zero
    base: levels of a digit
    room: digits in all
    most: digits of a component

    Greedy: whatever saves the most squared error a digit comes first. A component without digits loses all of
    its square, one with digits what they clip and what they round.
    """
    errors = digit_errors(y, base, most)
    counts = [0] * len(errors)
    while room:
        savings = [
            ((error[count] - error[count + more]) / more, component, more)
            for component, (error, count) in enumerate(zip(errors, counts))
            for more in range(1, min(most - count, room) + 1)
        ]
        _, component, more = max(savings)
        counts[component] += more
        room -= more
    return counts


def digit_errors(y: torch.Tensor, base: int, most: int) -> list[list[float]]:
    """Squared errors [component][digits] of 0 to `most` digits of `base` levels for components y (K, L)."""
    errors = [y.square().mean(1)]
    for count in range(1, most + 1):
        errors.append(clip_errors(y, base**count) + 1 / 12)
    return torch.stack(errors, 1).tolist()


def share(y: torch.Tensor, B: int, room: int) -> tuple[int, ...]:
    """The `digits`, see `coding/packing.py`, with which neighbours share integers and clipping is least.

    y: components (K, L), in steps around zero
    room: integers for all of them

    Least is the squared error, by dynamic programming over the components. Raises UserError where there is
    no room for so many.
    """
    count, room = len(y), min(room, len(y))
    sizes = [size for size in range(1, count + 1) if packing.levels(1, size, B) >= 3]
    errors = torch.stack([clip_errors(y, packing.levels(1, size, B)) for size in sizes]).double()
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
