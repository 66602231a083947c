"""Refinement: a better file for one picture, by the loss of training."""

import dataclasses
import functools
import os

import numpy as np
import pytest
import torch
from PIL import Image

import codec
import quantize
from coding import container, tiles
from coding.latents import IntegerLatents, Latents
from conftest import ROOT, analyse, build_pair, distance_for_eye, picture_of, psnr, synthesise, tuned
from engines import shipped
from engines.model_file import ModelError
from engines.pair import Decoder, Encoder
from networks import descent, search
from networks.entropy_model import laplacian_bits, network_of
from networks.window import Cost, Window


def refined(image, pair, effort, **options):
    return codec.compress(image, pair[0], effort=effort, **options)


def search_all(latents, rgb, encoder, effort, **options):
    """What the search makes of all latents of pixels (H, W, 3) at t = 0."""
    cost = Cost(0, 0.0, picture_of(rgb), encoder)
    bar = tiles.bar(0, progress=False)
    return search.refine(latents, slice(0, len(latents.y)), cost, effort, bar, **options)


def cost(data, image, pair):
    """The loss in bits of a whole file: its payload, and the distortion of the picture in it."""
    mse = 10 ** (-psnr(codec.decompress(data, pair[1]), image) / 10)
    encoded = container.unpack(data)
    weight = pair[0].lambda_ * 4**encoded.setting.t * 255**2
    return 8 * len(encoded.payload) + weight * mse * image.width * image.height


@pytest.mark.parametrize(
    "size, mode", [((112, 80), "L"), ((37, 20), "RGB"), ((17, 33), "L"), ((1, 1), "RGB")]
)
def test_a_refined_file_decodes_as_any_other_and_costs_less_where_size_in_bytes_can_tell(
    fixed_pair, photo, size, mode
):
    image = Image.fromarray(photo).resize(size).convert(mode)
    data = refined(image, fixed_pair, 50)
    assert codec.decompress(data, fixed_pair[1]).size == size
    if size == (112, 80):
        assert cost(data, image, fixed_pair) < cost(codec.compress(image, fixed_pair[0]), image, fixed_pair)


def test_refinement_goes_by_the_tune_of_the_encoder():
    """At about the same bytes, the picture is nearer for the eye and farther by squared errors."""
    image = Image.open(os.path.join(ROOT, "resources/test_images/baboon.png")).crop((160, 160, 288, 288))
    encoder = Encoder.load(shipped.path("variable", "encoder", "psnr"), engine="torch")
    files = [codec.compress(image, tuned(encoder, tune), quality=4, effort=20) for tune in ("psnr", "eye")]
    decoded = [codec.decompress(data, encoder.decoder) for data in files]
    assert len(files[1]) < 1.1 * len(files[0])
    assert psnr(decoded[1], image) < psnr(decoded[0], image)
    near, nearer = (distance_for_eye(one, image) for one in decoded)
    assert nearer < 0.95 * near


@pytest.mark.parametrize("mode, share", [("hard", 0.95), ("soft", 0.93), ("variable", 0.94)])
def test_refinement_pays_with_the_shipped_models(mode, share):
    """By squared errors, so with the encoder for PSNR."""
    pair = (
        Encoder.load(shipped.path(mode, "encoder", "psnr"), engine="torch"),
        Decoder.load(shipped.path(mode, "decoder"), engine="torch"),
    )
    image = Image.open(os.path.join(ROOT, "resources/test_images/peppers.png")).crop((160, 160, 320, 320))
    assert cost(refined(image, pair, 30), image, pair) < share * cost(
        codec.compress(image, pair[0]), image, pair
    )


def test_it_never_costs_more(fixed_pair, photo):
    """By the code lengths that the search goes by: whole bytes would blur small pictures."""
    encoder, decoder = fixed_pair
    entropy_model = network_of(encoder.coder.entropy_model, encoder.config)
    policies = quantize.policies(encoder.config.mode.latents, encoder.config.B)

    def total(latents):
        y, z = (torch.from_numpy(tiles.to_input(part)) for part in (latents.y, latents.z))
        with torch.inference_mode():
            bits_z, bits_y, y = entropy_model.quantize(y, z, torch.zeros(1), policies.round)
        gray = picture_of(rgb).metadata.gray
        pixels = synthesise(tiles.from_output(y.numpy()), decoder, gray=gray)
        pixels = pixels[: rgb.shape[0], : rgb.shape[1]]
        bits = (bits_z + bits_y).item()
        return bits + encoder.lambda_ * ((pixels.astype(float) - rgb) ** 2).mean(2).sum()

    for rgb in (
        photo,
        photo[:1, :1],
        photo[3:20, :37],
        np.broadcast_to(np.uint8([255, 0, 0]), (32, 48, 3)).copy(),
    ):
        latents = analyse(rgb, encoder)
        for effort in 1, 30:
            found = search_all(latents, rgb, encoder, effort)
            assert total(found) <= total(latents) * (1 + 1e-4)


def test_it_is_deterministic(pair, photo):
    image = Image.fromarray(photo)
    assert refined(image, pair, 20) == refined(image, pair, 20)


@pytest.mark.parametrize("quality", [1, 8])
def test_refinement_costs_less_in_variable_mode(variable_pair, photo, quality, monkeypatch):
    for side, image in (
        (48, Image.fromarray(photo)),
        (4, Image.fromarray(photo).resize((99, 70)).convert("L")),
    ):
        monkeypatch.setattr(search, "refine", functools.partial(search.refine, side=side))
        plain = codec.compress(image, variable_pair[0], quality=quality)
        data = refined(image, variable_pair, 50, quality=quality)
        assert cost(data, image, variable_pair) < cost(plain, image, variable_pair)
        monkeypatch.undo()


def window_of(rgb, encoder, tile=None):
    """The search's window of all latents of pixels (H, W, 3) at t = 0, and its objectives, of z and the
    latents; tile: that which is moved, or all."""
    latents = analyse(rgb, encoder)
    rows, columns = (slice(0, length) for length in latents.y.shape[:2])
    part = tiles.Tile(tile or (rows, columns), (rows, columns), tile or (rows, columns))
    cost = Cost(0, 0.0, picture_of(rgb), encoder)
    window = Window(cost, part)
    hyper = search._HyperSymbols(window, window.tensor(latents.y), window.tensor(latents.z))
    z = hyper.z_of(hyper.start)
    return window, hyper, search._LatentSymbols(window, window.tensor(latents.y), z)


def test_it_starts_from_what_would_be_coded(fixed_pair, variable_pair, photo):
    for encoder in fixed_pair[0], variable_pair[0], tuned(variable_pair[0], "eye"):
        latents, (_, hyper, symbols) = analyse(photo, encoder), window_of(photo, encoder)
        y, z = (torch.from_numpy(tiles.to_input(part)) for part in (latents.y, latents.z))
        policies = quantize.policies(encoder.config.mode.latents, encoder.config.B)
        network = network_of(encoder.coder.entropy_model, encoder.config)
        with torch.no_grad():
            bits_z, bits, coded = network.quantize(y, z, torch.zeros(1), policies.round, tune=encoder.tune)
            walked = symbols._walked(symbols.start)
        assert torch.equal(symbols.start, symbols.start.round())
        assert torch.allclose(walked.latents, coded, atol=1e-4)
        assert walked.bits == pytest.approx(bits.item(), rel=1e-4)
        assert hyper.loss(hyper.start) == pytest.approx(bits_z.item() + symbols.loss(symbols.start), rel=1e-4)


def test_the_margin_of_a_tile_stays(fixed_pair, photo):
    _, _, symbols = window_of(photo, fixed_pair[0], (slice(0, 2), slice(1, 4)))
    changed = descent.descend(symbols, 20) != symbols.start
    assert symbols.inner.any() and changed.any() and not changed[~symbols.inner].any()


@pytest.fixture(scope="module")
def shipped_encoder():
    return Encoder.load(shipped.path("variable", "encoder", "psnr"), engine="torch")


def peppers(width, height):
    image = Image.open(os.path.join(ROOT, "resources/test_images/peppers.png"))
    return np.asarray(image.crop((160, 160, 160 + width, 160 + height)))


def test_z_of_a_tile_costs_less_with_the_latents_as_they_are(shipped_encoder):
    _, hyper, _ = window_of(peppers(128, 128), shipped_encoder, (slice(0, 4), slice(4, 8)))
    best = descent.descend(hyper, 10)
    changed, is_coded = best != hyper.start, hyper.relaxed(hyper.start).code.limit > 0
    assert torch.equal(best, best.round()) and hyper.loss(best) < hyper.loss(hyper.start)
    assert 4 * hyper.inner.sum() == len(best) and not changed[~hyper.inner].any()
    assert is_coded.any() and not best[~is_coded].any()


def test_the_gradient_of_z_is_that_of_the_bits(shipped_encoder):
    _, hyper, _ = window_of(peppers(64, 64), shipped_encoder)
    torch.manual_seed(0)
    at = hyper.relaxed(hyper.start)
    direction = torch.randn_like(hyper.start) * (at.code.limit > 0)

    def bits_of_latents(by):
        symbols = hyper.start + by * direction
        return hyper.relaxed(symbols).loss - at.code.relaxed_bits(symbols).sum().item()

    slope = (bits_of_latents(0.02) - bits_of_latents(-0.02)) / 0.04
    assert (at.gradient * direction).sum().item() == pytest.approx(slope, rel=0.05)


def test_z_that_is_found_is_what_is_coded(shipped_encoder, monkeypatch):
    """In tiles of 4x4 latents with a margin of 4, and in some rows of a picture."""
    monkeypatch.setattr("coding.tiles.SYNTHESIS_HALO", 4)
    rgb = peppers(144, 144)
    latents = analyse(rgb, shipped_encoder)
    before, cost = latents.z.copy(), Cost(0, 0.0, picture_of(rgb), shipped_encoder)
    found = search.refine(latents, slice(4, 9), cost, 10, tiles.bar(0, progress=False), side=4)
    assert (
        np.array_equal(latents.z, before)
        and found.y.shape[0] == 5
        and found.z.shape == (2, 3, before.shape[2])
    )
    (decoded,) = shipped_encoder.coder.decode(shipped_encoder.coder.encode([found], 0.0), (5, 9), 0.0)
    assert np.allclose(decoded.z, found.z, atol=0.01)
    (plain,) = shipped_encoder.coder.decode(
        shipped_encoder.coder.encode([Latents(latents.y[4:], before[1:])], 0.0), (5, 9), 0.0
    )
    assert ((decoded.z - plain.z).round().any(2)).sum() > 1


def test_a_loss_that_is_not_finite_leaves_what_would_be_coded(fixed_pair, photo, monkeypatch):
    window, hyper, symbols = window_of(photo, fixed_pair[0])
    monkeypatch.setattr(window, "_weight", float("nan"))
    for objective in hyper, symbols:
        assert torch.equal(descent.descend(objective, 3), objective.start)


def test_it_goes_on_after_a_step_that_raised_the_loss(variable_pair, photo, monkeypatch):
    (_, _, symbols), losses = window_of(photo, variable_pair[0]), []
    relaxed = symbols.relaxed
    monkeypatch.setattr(symbols, "relaxed", lambda x: losses.append(relaxed(x)) or losses[-1])
    monkeypatch.setattr(descent, "TOLERANCE", 1.0)
    descent.descend(symbols, 20)
    losses = [one.loss for one in losses[-20:]]
    assert any(after > before for before, after in zip(losses, losses[1:]))
    assert losses[-1] not in losses[-4:-1]


def test_a_proximal_step_is_the_best_there_is():
    """Beside all of a fine grid, at scales and offsets of all kinds."""
    torch.manual_seed(0)
    symbols, offset, step = 3 * torch.randn(200), torch.rand(200) - 0.5, 0.001 + 0.009 * torch.rand(200)
    log_scale, gradient = torch.linspace(-3, 4, 200), 20 * torch.randn(200)
    limit = torch.where(torch.arange(200) % 10 > 0, 100.0, 0.0)
    found = descent.Relaxed(0, gradient, descent.Code(offset, log_scale, limit)).proximal(symbols, step)
    assert (found[limit == 0] == 0).all()

    def value(x):
        below = x.floor()
        ends = (laplacian_bits(below + by + offset, log_scale) for by in (0, 1))
        return torch.lerp(*ends, x - below) + (x - symbols + step * gradient).square() / (2 * step)

    grid = torch.stack([value(found + by) for by in torch.linspace(-1, 1, 2001)])
    assert (value(found) <= grid.min(0).values + 1e-3)[limit > 0].all()


def test_tiles_are_refined_one_after_the_other(fixed_pair, monkeypatch):
    """Tiles of 4x4 latents with a margin of 4 cost less than the encoder's latents, and keep inside their
    limits."""
    monkeypatch.setattr("coding.tiles.SYNTHESIS_HALO", 4)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (6, 9, 3)).repeat(16, 0).repeat(16, 1)
    rgb = (rgb + rng.normal(0, 12, rgb.shape)).clip(0, 255).astype(np.uint8)[:91, :138]
    encoder = fixed_pair[0]
    latents = analyse(rgb, encoder)
    before = latents.y.copy()
    y = search_all(latents, rgb, encoder, 15, side=4).y
    assert np.array_equal(latents.y, before)
    if isinstance(encoder.coder.kind, IntegerLatents):
        assert np.allclose(y, y.round(), atol=1e-4)
    assert (np.abs(y) <= encoder.coder.kind.limits + 1e-4).all()
    changed = (y.round() != before.round()).any(2)
    assert (
        sum(changed[row : row + 4, column : column + 4].any() for row in (0, 4) for column in (0, 4, 8)) > 1
    )

    image = Image.fromarray(rgb)
    monkeypatch.setattr(search, "refine", functools.partial(search.refine, side=4))
    assert cost(refined(image, fixed_pair, 15), image, fixed_pair) < cost(
        codec.compress(image, encoder), image, fixed_pair
    )


def test_a_foreign_decoder_is_refused(soft_pair, photo):
    other = build_pair("soft", seed=1)[1]
    encoder = dataclasses.replace(soft_pair[0], load_decoder=lambda: other)
    with pytest.raises(ModelError, match="trained with"):
        codec.compress(Image.fromarray(photo), encoder, effort=1)
