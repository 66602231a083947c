"""The loss and its gradients."""

import pytest
import torch

from coding import dealing
from coding.modes import MODES
from conftest import build_transforms
from training import loss


def test_a_clipped_latent_is_led_back_by_the_penalty_alone():
    networks = loss.Networks(*build_transforms("soft"))
    y = torch.tensor([[600.0, 1.3, -900.0, 0, 0, 0]]).view(1, 6, 1, 1)
    y = y.expand(1, 6, 4, 4).clone().requires_grad_()
    networks.analysis.forward = lambda x, t: y
    bpp, mse, clipped = loss.RateDistortion(networks)(torch.rand(1, 3, 64, 64))
    outside = torch.tensor([True, False, True, False, False, False])
    (bpp + mse).backward(retain_graph=True)
    assert torch.equal(y.grad.abs().sum((0, 2, 3)) == 0, outside)
    y.grad = None
    clipped.backward()
    assert torch.equal(y.grad.sum((0, 2, 3)).sign(), torch.tensor([1.0, 0, -1, 0, 0, 0]))


def test_latents_that_get_no_integers_have_a_gradient_by_z_alone(monkeypatch):
    monkeypatch.setattr(dealing, "ROOM", 4)
    networks = loss.Networks(*build_transforms("hard"))
    y = torch.randn(1, 40, 4, 4).requires_grad_()
    networks.analysis.forward = lambda x, t: y
    networks.analysis.hyper_latents = lambda y: torch.zeros(1, 3, 1, 1)
    rate_distortion = loss.RateDistortion(networks)
    bpp, error, _ = rate_distortion.rate_and_distortion(torch.rand(1, 3, 64, 64), torch.zeros(1))
    for term in error, bpp:
        (gradient,) = torch.autograd.grad(term.sum(), y, retain_graph=True)
        assert 0 < (gradient != 0).sum() <= 4 * 16


@pytest.mark.parametrize("part", ["all", "decoder", "entropy"])
def test_the_scale_of_latents_that_get_no_integers_is_learned_too(part, monkeypatch):
    monkeypatch.setattr(dealing, "ROOM", 0)
    rate_distortion = loss.RateDistortion(loss.Networks(*build_transforms("hard")), part).train()
    bpp, _, _ = rate_distortion(torch.rand(1, 3, 64, 64))
    bpp.backward()
    spread = rate_distortion.entropy_model.spread
    assert (spread.grad[0] != 0).all()
    t = torch.zeros(1)
    in_use, _, _ = rate_distortion.eval().rate_and_distortion(torch.rand(1, 3, 64, 64), t, noise=False)
    assert in_use < 0.2 * bpp  # of z alone


def test_only_the_entropy_model_learns_where_it_is_trained_alone():
    rate_distortion = loss.RateDistortion(loss.Networks(*build_transforms("variable")), part="entropy")
    bpp, mse, _ = rate_distortion(torch.rand(2, 3, 64, 64))
    (bpp + mse).backward()
    learning = {name for name, parameter in rate_distortion.named_parameters() if parameter.grad is not None}
    assert learning and {name.split(".")[0] for name in learning} == {"analysis", "entropy_model"}
    assert all(name.startswith(("entropy_model.", "analysis.hyper.")) for name in learning)


def test_the_analysis_transform_stays_where_the_decoder_is_trained():
    rate_distortion = loss.RateDistortion(loss.Networks(*build_transforms("variable")), part="decoder")
    bpp, mse, _ = rate_distortion(torch.rand(2, 3, 64, 64))
    (bpp + mse).backward()
    learning = {name for name, parameter in rate_distortion.named_parameters() if parameter.grad is not None}
    assert any(name.startswith("synthesis.") for name in learning)
    assert all(name.startswith(("entropy_model.", "synthesis.", "analysis.hyper.")) for name in learning)


def test_the_analysis_transform_alone_learns_where_the_encoder_is_trained():
    rate_distortion = loss.RateDistortion(loss.Networks(*build_transforms("variable")), part="encoder")
    bpp, mse, _ = rate_distortion(torch.rand(2, 3, 64, 64))
    (bpp + mse).backward()
    learning = {name for name, parameter in rate_distortion.named_parameters() if parameter.grad is not None}
    assert learning and all(name.startswith("analysis.") for name in learning)
    assert not any(name.startswith("analysis.hyper.") for name in learning)


def test_an_error_for_the_eye_is_smaller_where_texture_hides_it():
    networks = loss.Networks(*build_transforms("variable"))
    flat, noise = torch.full((1, 3, 64, 64), 0.5), torch.rand(1, 3, 64, 64)
    for tune, hides in ("psnr", False), ("eye", True):
        error = loss.RateDistortion(networks, tune=tune).error
        spread = 0.05 * torch.randn(flat.shape)
        assert (error(noise + spread, noise) < 0.8 * error(flat + spread, flat)).item() == hides


def test_modes_are_validated_at_the_whole_numbers_among_their_rates():
    rates = {name: list(loss.whole_rates(mode)) for name, mode in MODES.items()}
    assert rates == {"hard": [0], "soft": [0], "variable": [-1, 0, 1, 2]}


def test_images_are_measured_with_rounded_latents(photo):
    image = photo.repeat(2, 0).repeat(2, 1)[:64, :64]
    rate_distortion = loss.RateDistortion(loss.Networks(*build_transforms("variable")))
    first, second = (loss.evaluate(rate_distortion, [image]) for _ in range(2))
    assert first == second and first[0] > 0 and 5 < first[1] < 60
