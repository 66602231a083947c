import functools

import numpy as np
import pytest
import torch
from PIL import Image

import bitstream
import codec
import metrics
import model
import refine
from conftest import build_pair


def cost(data, image, pair):
    """The loss in bits of a whole file: its payload, and the distortion of the picture in it."""
    decoded = codec.decompress(data, pair[1])
    mse = 10 ** (-metrics.psnr(decoded, image) / 10)
    encoded = bitstream.unpack(data)
    lambda_ = pair[0].lambda_ * (4**encoded.rate if encoded.quantize_mode == "variable" else 1)
    return 8 * len(encoded.payload) + lambda_ * 255**2 * mse * image.width * image.height


def test_soft_rounding_goes_from_the_identity_to_a_step():
    fraction = torch.linspace(0, 1, 21)
    assert torch.allclose(refine.soft_share(fraction, 1e-2), fraction, atol=1e-4)
    assert torch.equal(refine.soft_share(fraction, 1e4).round(decimals=3), (fraction > 0.5).float() + 0.5 * (fraction == 0.5))


@pytest.mark.parametrize("size, mode", [((56, 40), "RGB"), ((37, 20), "RGB"), ((17, 33), "L"), ((1, 1), "RGB")])
def test_refinement_costs_less_and_the_file_decodes_as_any_other(classic_pair, photo, size, mode):
    image = Image.fromarray(photo).resize(size).convert(mode)
    plain, refined = (codec.compress(image, *classic_pair, effort) for effort in (0, 50))
    assert codec.decompress(refined, classic_pair[1]).size == size
    assert cost(refined, image, classic_pair) <= cost(plain, image, classic_pair)
    if size == (56, 40):
        assert cost(refined, image, classic_pair) < 0.99 * cost(plain, image, classic_pair)


def test_it_never_costs_more(classic_pair, photo):
    for image in Image.fromarray(photo), Image.new("RGB", (48, 32), (255, 0, 0)):
        plain, refined = (codec.compress(image, *classic_pair, effort) for effort in (0, 1))
        assert cost(refined, image, classic_pair) <= cost(plain, image, classic_pair)


def test_it_is_deterministic(pair, photo):
    image = Image.fromarray(photo)
    assert codec.compress(image, *pair, 20) == codec.compress(image, *pair, 20)


@pytest.mark.parametrize("quality", [1, 8])
def test_refinement_costs_less_in_variable_mode(photo, quality, monkeypatch):
    pair = build_pair("variable")
    for side, image in (48, Image.fromarray(photo)), (4, Image.fromarray(photo).resize((99, 70)).convert("L")):
        monkeypatch.setattr(refine, "refine_variable", functools.partial(refine.refine_variable, side=side))
        plain, refined = (codec.compress(image, *pair, effort, quality) for effort in (0, 50))
        assert cost(refined, image, pair) < cost(plain, image, pair)
        monkeypatch.undo()


def test_tiles_are_refined_one_after_the_other(classic_pair, monkeypatch):
    """Tiles of 2x2 latents with a margin of 1 cost less than the encoder's latent, and keep inside its levels."""
    monkeypatch.setattr("tiles.HALO", 1)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (5, 6, 3)).repeat(16, 0).repeat(16, 1)
    rgb = (rgb + rng.normal(0, 12, rgb.shape)).clip(0, 255).astype(np.uint8)[:75, :90]
    encoder, decoder = classic_pair
    latent = codec.analyse(rgb, encoder)
    before = latent.copy()
    refined = refine.refine(rgb, latent, encoder, decoder, codec.bank_of(encoder), 30, side=2)
    assert np.array_equal(latent, before) and refined.shape == latent.shape
    assert refined.min() >= 0 and refined.max() <= 2**encoder.config.B
    changed = (refined != latent).any(0)
    assert sum(changed[row:row + 2, column:column + 2].any() for row in (0, 2, 4) for column in (0, 2, 4)) > 1

    def total(values):
        pixels = codec.synthesise(values, decoder)[:75, :90].astype(float)
        payload = codec.entropy.encode(values.reshape(len(values), -1), codec.bank_of(encoder))
        return 8 * len(payload) + encoder.lambda_ * ((pixels - rgb) ** 2).mean(2).sum()
    assert total(refined) < total(latent)


def test_a_foreign_decoder_is_refused(soft_pair, photo):
    with pytest.raises(model.ModelError, match="trained with"):
        codec.compress(Image.fromarray(photo), soft_pair[0], build_pair("soft", seed=1)[1], effort=1)
