"""How components of soft mode's latents share integers in [0, 2^B]: as digits of one number.

`digits` has a number for each component: 1, or 0 where it shares the integer of the component before it. So
(1, 1, 0, 0) is a component that is alone in an integer, then three components in one.
"""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Group:
    """Components that share an integer.

    levels: of each component, an odd number, around zero.
    """

    components: int
    levels: int

    @property
    def limit(self) -> int:
        """The largest magnitude of a component, a whole number of quantization steps."""
        return self.levels // 2


def groups(digits: Sequence[int], B: int) -> list[Group]:
    """The groups that `digits` of components make with integers of B bits.

    Raises ValueError where nothing is there to share, or where so many share it that they have only zero.
    """
    sizes = []
    for digit in digits:
        if digit:
            sizes.append(1)
        elif sizes:
            sizes[-1] += 1
        else:
            raise ValueError("digits out of range")
    found = [Group(size, levels(size, B)) for size in sizes]
    if not all(group.limit for group in found):
        raise ValueError("digits out of range")
    return found


def levels(components: int, B: int) -> int:
    """The levels of each of so many components that share an integer: as many as there is room for."""
    found = 1
    while (found + 2) ** components <= 2**B + 1:
        found += 2
    return found
