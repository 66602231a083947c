"""How components of the latents and integers in [0, 2^B] hold each other: as digits of one number.

`digits` has a number for each component: of the integers that hold it, 1 and more where it is alone in them,
or 0 where it shares the integer of the component before it. So (3, 1, 0, 0) is a component in three integers,
then three components in one.
"""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Group:
    """Components and integers that belong together; there is one of the former or one of the latter.

    levels: of each component, an odd number, around zero.
    """

    integers: int
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
    sizes = []  # integers and components
    for count in digits:
        if count:
            sizes.append((count, 1))
        elif not sizes or sizes[-1][0] > 1:
            raise ValueError("digits out of range")
        else:
            sizes[-1] = 1, sizes[-1][1] + 1
    found = [Group(integers, components, levels(integers, components, B)) for integers, components in sizes]
    if not all(group.limit for group in found):
        raise ValueError("digits out of range")
    return found


def levels(integers: int, components: int, B: int) -> int:
    """The levels of a component of a group: all that its integers have, or as many as there is room for."""
    if components == 1:
        return (2**B + 1) ** integers
    found = 1
    while (found + 2) ** components <= 2**B + 1:
        found += 2
    return found
