"""The latents of a picture after the search for better ones, `networks/search.py`, stripe by stripe."""

from collections.abc import Iterator

from coding import order, tiles
from coding.latents import Latents
from engines import tiled
from engines.pair import Encoder
from pictures.picture import Picture


def refined_stripes(
    picture: Picture, t: float, encoder: Encoder, effort: int, progress: bool = False
) -> Iterator[Latents]:
    """The real latents of each stripe of a picture at rate t, after `effort` iterations of the search.

    encoder: with its decoder, with PyTorch; progress: show a bar on a terminal
    """
    from networks import search, window  # which need PyTorch

    shape, no_bar = tiled.shape_of(picture.metadata), tiles.bar(0, progress=False)
    with tiles.bar(effort * tiles.count(shape, search.TILE), progress) as bar:
        for rows in order.stripes(*shape):
            wide = tiles.widened(rows, shape[0], tiles.SYNTHESIS_HALO)
            latents = tiled.analyse(picture, wide, t, encoder, no_bar)
            cost = window.Cost(wide.start, t, picture, encoder)
            yield search.refine(
                latents, slice(rows.start - wide.start, rows.stop - wide.start), cost, effort, bar
            )
