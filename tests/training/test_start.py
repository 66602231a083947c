"""Where training starts."""

import dataclasses

import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from conftest import build_transforms
from model import AnalysisTransform, default_config
from training import start
from training.loss import Networks

ONE = torch.zeros(1)  # the rate of hard and soft mode


def squares(count):
    """Pixels (count, 3, 64, 64): squares of random colours."""
    return torch.rand(count, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)


def test_principal_components_reconstruct_what_they_span():
    networks = Networks(*build_transforms("soft"))
    pixels = torch.rand(6, 3, 1, 1).expand(6, 3, 32, 32).contiguous()  # flat colours: three dimensions
    start.set_principal_components(networks, pixels, step=0.01)
    y = networks.analysis.linear(F.pixel_unshuffle(pixels - 0.5, 16))
    decoded = F.pixel_shuffle(networks.synthesis.linear(y), 16) + 0.5
    assert torch.allclose(decoded, pixels, atol=1e-3)


def test_coarsened_models_say_the_same_in_larger_steps():
    soft, pixels = Networks(*build_transforms("soft")), squares(8)
    start.set_principal_components(soft, pixels, step=0.2)
    config = dataclasses.replace(soft.config, quantize_mode="hard")
    hard = start.coarsen(soft, config, pixels, step=4.0)
    hard.analysis.eval()
    digits = hard.config.digits
    assert sum(digits) == 4 and digits[0] > 1
    assert sorted(digits, reverse=True) == list(digits)

    y, coarse = start.latents(soft.analysis, pixels), start.latents(hard.analysis, pixels)
    order = y.std(1).argsort(descending=True)[: len(digits)]
    assert torch.allclose(coarse, (y - y.mean(1, keepdim=True))[order] / 4, atol=1e-3)
    kept = torch.zeros_like(y) + y.mean(1, keepdim=True)
    kept[order] = y[order]
    kept = kept.view(4, 8, 4, 4).transpose(0, 1)
    with torch.no_grad():
        expected = soft.synthesis(kept, ONE)
        assert torch.allclose(hard.synthesis(hard.analysis(pixels, ONE), ONE), expected, atol=1e-2)


def test_digits_go_where_they_save_the_most():
    random = torch.Generator().manual_seed(0)
    y = torch.randn(5, 4000, generator=random) * torch.tensor([20.0, 4.0, 0.9, 0.8, 0.01])[:, None]
    counts = start.allocate(y, base=5, room=7)
    assert sum(counts) == 7 and counts[0] == 3 and counts[1] == 2 and counts[2:4] == [1, 1]


def test_the_trunk_takes_torchvisions_weights(monkeypatch):
    """With batch norms folded in and plain ReLUs, its features are those of torchvision's network."""
    monkeypatch.setattr("model._NEGATIVE_SLOPE", 0)
    torch.manual_seed(0)
    theirs = resnet18().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight, 1, 0.2)
            torch.nn.init.normal_(module.bias)
    ours = AnalysisTransform(default_config("hard"))
    folded = start.fold_batch_norms(theirs.state_dict())
    unknown = ours.load_state_dict(folded, strict=False)
    assert not unknown.unexpected_keys
    parts = {name.split(".")[0] for name in unknown.missing_keys}
    assert parts == {"added1", "added2", "modulations", "bottlenecks", "neck", "linear", "gain", "hyper"}

    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        expected = theirs.layer3(theirs.layer2(theirs.layer1(expected)))
        features = F.max_pool2d(F.relu(ours.conv1(x)), 3, 2, 1)
        features = ours.layer3(ours.layer2(ours.layer1(features)))
    assert torch.allclose(features, expected, atol=1e-3 * expected.std())
