"""How components of the latents and integers in [0, 2^B] hold each other: as digits of one number.

`digits` has a number for each component: of the integers that hold it, 1 and more where it is alone in them,
or 0 where it shares the integer of the component before it. So (3, 1, 0, 0) is a component in three integers,
then three components in one.
"""

from collections.abc import Sequence


def groups(digits: Sequence[int]) -> list[tuple[int, int]]:
    """What belongs together, (integers, components), one of which is 1.

    Raises ValueError where nothing is there to share, or where it is more than one integer.
    """
    found = []
    for count in digits:
        if count:
            found.append((count, 1))
        elif not found or found[-1][0] > 1:
            raise ValueError("digits out of range")
        else:
            found[-1] = (1, found[-1][1] + 1)
    return found


def shared_levels(components: int, B: int) -> int:
    """The levels, an odd number, of each of some components that share an integer."""
    levels = 1
    while (levels + 2) ** components <= 2**B + 1:
        levels += 2
    return levels


def limits(digits: Sequence[int], B: int) -> list[int]:
    """The largest magnitude of each of the K components, a whole number of quantization steps.

    Raises ValueError where so many share an integer that one of them has nothing but zero.
    """
    found = []
    for integers, components in groups(digits):
        levels = (2**B + 1) ** integers if components == 1 else shared_levels(components, B)
        if levels < 3:
            raise ValueError("digits out of range")
        found += [levels // 2] * components
    return found
