import copy
import functools
import os

import numpy as np
import pytest
import torch
from PIL import Image

import bitstream
import cli
import codec
import exact
import latent_coder
import metrics
import model
import quantize
import refine
from conftest import ROOT, build_pair, plain_pair

def cost(data, image, pair):
    """The loss in bits of a whole file: its payload, and the distortion of the picture in it."""
    decoded = codec.decompress(data, pair[1])
    mse = 10 ** (-metrics.psnr(decoded, image) / 10)
    encoded = bitstream.unpack(data)
    return 8 * len(encoded.payload) + pair[0].lambda_ * 4**encoded.rate * 255**2 * mse * image.width * image.height


def test_soft_rounding_goes_from_the_identity_to_a_step():
    fraction = torch.linspace(0, 1, 21)
    assert torch.allclose(refine.soft_share(fraction, 1e-2), fraction, atol=1e-4)
    assert torch.equal(refine.soft_share(fraction, 1e4).round(decimals=3), (fraction > 0.5).float() + 0.5 * (fraction == 0.5))


@pytest.mark.parametrize("size, mode", [((112, 80), "RGB"), ((37, 20), "RGB"), ((17, 33), "L"), ((1, 1), "RGB")])
def test_a_refined_file_decodes_as_any_other_and_costs_less_where_size_in_bytes_can_tell(classic_pair, photo, size, mode):
    image = Image.fromarray(photo).resize(size).convert(mode)
    plain, refined = (codec.compress(image, *classic_pair, effort) for effort in (0, 50))
    assert codec.decompress(refined, classic_pair[1]).size == size
    if size == (112, 80):
        assert cost(refined, image, classic_pair) < cost(plain, image, classic_pair)


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_refinement_pays_with_the_shipped_models(mode):
    pair = [model.load(cli.shipped_model(mode, kind), kind) for kind in ("encoder", "decoder")]
    image = Image.open(os.path.join(ROOT, "resources/test_images/peppers.png")).crop((160, 160, 320, 320))
    plain, refined = (codec.compress(image, *pair, effort) for effort in (0, 30))
    assert cost(refined, image, pair) < 0.95 * cost(plain, image, pair)


def test_it_never_costs_more(classic_pair, photo):
    """By the code lengths that the search goes by: whole bytes would blur small pictures."""
    encoder, decoder = classic_pair
    context = exact.thaw(copy.deepcopy(encoder.context))

    def total(b):
        with torch.inference_mode():
            _, bits, latents = context.quantise(z, b, torch.zeros(1), context.rounded)
        pixels = codec.synthesise(codec.quantised(latents, encoder)[0].numpy(), decoder)[:rgb.shape[0], :rgb.shape[1]]
        return bits.item() + encoder.lambda_ * ((pixels.astype(float) - rgb) ** 2).mean(2).sum()
    for rgb in photo, photo[:1, :1], photo[3:20, :37], np.broadcast_to(np.uint8([255, 0, 0]), (32, 48, 3)).copy():
        z, b = latent_coder.latents_at(encoder, torch.from_numpy(codec.analyse(rgb, encoder))[None], 0.0)
        for effort in 1, 30:
            assert total(refine.refine(rgb, z, b, 0.0, encoder, decoder, effort)) <= total(b) * (1 + 1e-4)


def test_it_is_deterministic(pair, photo):
    image = Image.fromarray(photo)
    assert codec.compress(image, *pair, 20) == codec.compress(image, *pair, 20)


@pytest.mark.parametrize("quality", [1, 8])
def test_refinement_costs_less_in_variable_mode(photo, quality, monkeypatch):
    pair = build_pair("variable")
    for side, image in (48, Image.fromarray(photo)), (4, Image.fromarray(photo).resize((99, 70)).convert("L")):
        monkeypatch.setattr(refine, "refine", functools.partial(refine.refine, side=side))
        plain, refined = (codec.compress(image, *pair, effort, quality) for effort in (0, 50))
        assert cost(refined, image, pair) < cost(plain, image, pair)
        monkeypatch.undo()


def test_tiles_are_refined_one_after_the_other(classic_pair, monkeypatch):
    """Tiles of 4x4 latents with a margin of 4 cost less than the encoder's latent, and keep inside its levels."""
    monkeypatch.setattr("tiles.HALO", 4)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (9, 10, 3)).repeat(16, 0).repeat(16, 1)
    rgb = (rgb + rng.normal(0, 12, rgb.shape)).clip(0, 255).astype(np.uint8)[:139, :154]
    encoder, decoder = classic_pair
    z, b = latent_coder.latents_at(encoder, torch.from_numpy(codec.analyse(rgb, encoder))[None], 0.0)
    before = b.clone()
    refined = refine.refine(rgb, z, b, 0.0, encoder, decoder, 30, side=4)
    assert torch.equal(b, before) and torch.allclose(refined, refined.round(), atol=1e-4)
    assert (refined.abs() <= encoder.config.limits.view(1, -1, 1, 1) + 1e-4).all()
    changed = (refined.round() != b.round()).any(1)[0]
    assert sum(changed[row:row + 4, column:column + 4].any() for row in (0, 4, 8) for column in (0, 4, 8)) > 1

    def total(b):
        payload = latent_coder.encode(encoder.context, codec.bank_of(encoder), z, b, 0.0)
        pixels = codec.synthesise(codec.quantised(b, encoder)[0].numpy(), decoder)[:139, :154].astype(float)
        return 8 * len(payload) + encoder.lambda_ * ((pixels - rgb) ** 2).mean(2).sum()
    assert total(refined) < total(quantize.to_components(codec.quantised(b, encoder), encoder.config.digits, encoder.config.B))


def test_models_of_an_earlier_version_cannot_be_refined(photo):
    encoder, decoder = plain_pair()
    with pytest.raises(model.ModelError, match="earlier version"):
        codec.compress(Image.fromarray(photo), encoder, decoder, effort=1)


def test_a_foreign_decoder_is_refused(soft_pair, photo):
    with pytest.raises(model.ModelError, match="trained with"):
        codec.compress(Image.fromarray(photo), soft_pair[0], build_pair("soft", seed=1)[1], effort=1)
