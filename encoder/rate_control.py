"""Rate control: the rate that meets a target, of bits per pixel or of a score of what is decoded.

Code lengths find the one for bits. The one for a score takes whole codings: nothing else tells it.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from coding import container
from coding.container import Encoded
from coding.modes import Setting
from engines import tiled
from engines.pair import Encoder
from layers import choice, detail, exact
from pictures.picture import Picture

MOST_TRIALS = 4
NEAR = 0.5  # of a score: no further trial
# Scores at some qualities, by which a search begins: means over 22 photographs of CID22, as
# `evaluate.py PHOTOS --modes variable --tunes eye --qualities 1 3 5 7 8.8 9.1 10 --against` prints them.
USUAL_SCORES = ((1, 24.6), (3, 45.1), (5, 62.7), (7, 75.0), (8.8, 82.4), (9.1, 85.0), (10, 93.1))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What is to be coded: the picture with its exact layer, how, and whether the layer has all of it."""

    picture: Picture
    setting: Setting
    is_exact: bool


def choose(picture: Picture, number: int, encoder: Encoder) -> Chosen:
    """What is to be coded of a picture at a number of the mode's rates; raises as `choice.choose`."""
    setting = Setting(encoder.config.mode, number, encoder.tune)
    mask = choice.choose(picture, setting.t, encoder)
    return Chosen(exact.separate(picture, mask), setting, bool(mask.all()))


def choose_for_bpp(picture: Picture, target: float, encoder: Encoder) -> Chosen:
    """The same at the rate whose file comes nearest to a target of bits per pixel."""
    number = _number_of_size(_bytes_for_payload(picture, target, encoder), picture, encoder)
    chosen = choose(picture, number, encoder)
    if chosen.picture.metadata.layer is None:
        return chosen
    size = _bytes_for_payload(chosen.picture, target, encoder)
    if size < 0:  # the transforms keep to the target
        return Chosen(picture, chosen.setting, False)
    if chosen.is_exact:
        return chosen
    number = _number_of_size(size, chosen.picture, encoder)
    return dataclasses.replace(chosen, setting=dataclasses.replace(chosen.setting, number=number))


def number_of_score(target: float, numbers: range, score_at: Callable[[int], float]) -> int:
    """The number of the rate whose file has the score nearest to a target, of those that are tried.

    score_at: codes the picture at a number, and gives its score, at most 100; is called MOST_TRIALS times at
    most

    What pictures usually lack to 100 is scaled to what this one lacks where it is known; the number that then
    promises the target is tried next.
    """
    usual = 100 - np.interp(np.linspace(1, 10, len(numbers)), *zip(*USUAL_SCORES))
    known, lacking = {}, usual
    while len(known) < MOST_TRIALS:
        number = numbers[int(np.abs(100 - target - lacking).argmin())]
        if number in known:
            break
        known[number] = score_at(number)
        if abs(known[number] - target) <= NEAR:
            break
        tried = sorted(known)
        factors = [(100 - known[number]) / usual[numbers.index(number)] for number in tried]
        lacking = usual * np.interp(numbers, tried, factors)
    return min(sorted(known), key=lambda number: abs(known[number] - target))


def _bytes_for_payload(picture, target, encoder):
    """How many a file may have that comes near to a target of bits per pixel."""
    setting = Setting(encoder.config.mode, encoder.config.mode.numbers[0])
    besides = len(container.pack(Encoded(setting, encoder.decoder_id, picture.metadata, b"", b"")))
    return target * picture.metadata.width * picture.metadata.height / 8 - besides


def _number_of_size(size, picture, encoder):
    """The number of the rate whose payload and detail layer come nearest to `size` bytes.

    Code lengths find it: those of the initial probabilities. One payload tells how much less the adaptive
    models need. Where the finest rate is too small, detail layers are tried.
    """
    mode, coder = encoder.config.mode, encoder.coder

    def rate(number):
        return Setting(mode, number, encoder.tune).t

    @functools.cache
    def estimate(number):
        t = rate(number)
        return sum(coder.measure(latents, t).bits for latents in tiled.real_stripes(picture, t, encoder)) / 8

    def with_detail(number):
        setting = Setting(mode, number, encoder.tune)
        return len(payload) + len(detail.encode(picture, setting, encoder, payload))

    numbers = mode.without_detail(encoder.tune)
    number = _nearest(numbers, estimate, size)
    t = rate(number)
    payload = coder.encode(tiled.real_stripes(picture, t, encoder), t)
    number = _nearest(numbers, estimate, size * estimate(number) / len(payload))
    if number == numbers[-1] and mode.detailed and encoder.decoder:
        t = rate(number)
        payload = coder.encode(tiled.real_stripes(picture, t, encoder), t)
        return _nearest(mode.numbers[number:], functools.cache(with_detail), size)
    return number


def _nearest(numbers, size_at, size):
    """The number in a range with size_at(number) nearest to `size`, which grows with it."""
    low, high = numbers[0], numbers[-1]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_at(middle) <= size else (low, middle)
    return min((low, high), key=lambda number: abs(size_at(number) - size))
