"""Where training starts."""

import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from conftest import build_transforms
from model import AnalysisTransform, default_config
from training import start
from training.loss import Networks


def test_principal_components_reconstruct_what_they_span():
    networks = Networks(*build_transforms("soft"))
    pixels = torch.rand(6, 3, 1, 1).expand(6, 3, 32, 32).contiguous()  # flat colours: three dimensions
    start.set_principal_components(networks, pixels, step=0.01)
    y = networks.analysis.linear(F.pixel_unshuffle(pixels - 0.5, 16))
    decoded = F.pixel_shuffle(networks.synthesis.linear(y), 16) + 0.5
    assert torch.allclose(decoded, pixels, atol=1e-3)


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
