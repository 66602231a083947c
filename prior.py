"""The rate term of training: a learned probability for each latent channel.

Only training uses it. A trained model is coded with the adaptive models of `entropy.py`, whose
initial probabilities are counted on the rounded latents once training has ended.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F


class LogisticMixturePrior(nn.Module):
    """A mixture of K logistics for each channel, integrated over one quantisation step.

    The noisy latent y + u, u uniform in [-1/2, 1/2], has the density c(y + 1/2) - c(y - 1/2), which
    at integers is the probability of the rounded latent (Balle et al. 2018, "Variational image
    compression with a scale hyperprior", equation 7).
    """

    def __init__(self, channels, components=3):
        super().__init__()
        spread = torch.linspace(-1, 1, components)
        self.weight_logits = nn.Parameter(torch.zeros(channels, components))
        self.means = nn.Parameter(spread.repeat(channels, 1))
        self.log_scales = nn.Parameter(torch.zeros(channels, components))
        self.register_buffer("unit", torch.ones(channels))

    def fit(self, y, steps=150):
        """Fit to latents y of shape (N, C, H, W), in steps: their mean and deviation, then `steps` of descent."""
        y = y.detach()
        mean, std = y.mean((0, 2, 3)), y.std((0, 2, 3)).clamp_min(0.1)
        # Parameters move in units of the channel's spread: one learning rate then suits all.
        self.unit.copy_(std)
        with torch.no_grad():
            self.means.copy_(mean[:, None] / std[:, None] + 0.5 * torch.linspace(-1, 1, self.means.shape[1]))
            self.log_scales.fill_(math.log(0.5))
        optimizer = torch.optim.Adam(self.parameters(), 0.03)
        for _ in range(steps):
            part = y[torch.randint(len(y), (16,))]
            optimizer.zero_grad()
            self.bits(part + torch.rand_like(part) - 0.5).mean().backward()
            optimizer.step()

    def bits(self, y):
        """Code length in bits, shape (N, C, H, W), of noisy latents y of that shape in steps."""
        column = lambda p: p[None, :, :, None, None]  # (1, C, K, 1, 1)
        unit = self.unit[:, None]
        distance = (y[:, :, None] - column(self.means * unit)).abs()  # (N, C, K, H, W)
        inverse_scale = column(torch.exp(-self.log_scales) / unit)
        # Symmetry lets both terms sit in the lower tail, where the difference keeps its digits.
        upper = torch.sigmoid((0.5 - distance) * inverse_scale)
        lower = torch.sigmoid((-0.5 - distance) * inverse_scale)
        weights = column(F.softmax(self.weight_logits, 1))
        likelihood = (weights * (upper - lower)).sum(2)  # (N, C, H, W)
        return -torch.log2(likelihood.clamp_min(1e-9))
