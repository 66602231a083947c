"""SSIMULACRA2 against scores of its own program, and against the definition computed in another way."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from networks import ssimulacra2

LENA = os.path.join(ROOT, "resources/test_images/lena.png")


def uniform(size, value=128):
    return np.full((size, size, 3), value, np.uint8)


def gradient(size):
    across = (np.arange(size) * 255 // (size - 1)).astype(np.uint8)
    return np.broadcast_to(across[None, :, None], (size, size, 3)).copy()


def noise(size, state):
    """Knuth's linear congruential generator, whose bits 33 to 40 are the samples."""
    samples = []
    for _ in range(size * size * 3):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        samples.append(state >> 33 & 255)
    return np.array(samples, np.uint8).reshape(size, size, 3)


# Scores of the program in C++, captured in January 2026 in github.com/imazen/ssimulacra2, reference_data.rs.
# On flat pictures it is not exact: a variance is a small difference of its floats there.
@pytest.mark.parametrize(
    "reference, image, expected, tolerance",
    [
        (noise(64, 42), uniform(64), -47.33572558, 0.01),
        (gradient(64), uniform(64), -64.56872148, 0.01),
        (uniform(32), uniform(32, 178), 85.01409588, 0.5),
        (uniform(64), uniform(64, 178), -8.75942256, 0.5),
        (uniform(128), uniform(128, 178), -9.82383315, 0.5),
        (uniform(256), uniform(256, 138), 80.29149136, 0.5),
        (uniform(256), uniform(256, 148), 59.77892918, 0.5),
        (uniform(256), uniform(256, 178), -0.39085784, 0.5),
    ],
)
def test_scores_are_those_of_the_program(reference, image, expected, tolerance):
    assert ssimulacra2.score(image, reference) == pytest.approx(expected, abs=tolerance)


def gaussian(sigma=1.5):
    """Weights by Charalampidis 2016, "Recursive implementation of the Gaussian filter using truncated cosine
    functions", equations 37 to 53, which libjxl follows."""
    reach, order, signs = round(3.2795 * sigma + 0.2546), np.array([1, 3, 5]), np.array([1, -1, 1])
    omega = order * np.pi / (2 * reach)
    p = signs / np.tan(omega / 2)
    r = signs * p**2 / np.sin(omega)
    rho = np.exp(-((sigma * omega) ** 2) / 2) / reach
    zeta = np.array([p[1] * r[2] - r[1] * p[2], p[2] * r[0] - r[2] * p[0]]) / (p[0] * r[1] - r[0] * p[1])
    third = np.array([*zeta, 1])
    beta = np.linalg.solve([p, r, third], [1, reach**2 - sigma**2, third @ rho])
    return beta @ np.cos(np.outer(omega, np.arange(-reach + 1, reach)))


def halved(planes):
    """Means of 2x2, whose last row and column count twice where they are alone."""
    planes = np.pad(planes, [(0, 0)] + [(0, side % 2) for side in planes.shape[1:]], "edge")
    return (planes[:, ::2, ::2] + planes[:, 1::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]) / 4


def opponent(linear):
    """X, Y and B of linear RGB (3, H, W), as libjxl has them, and made positive."""
    bias = 0.0037930732552754493
    matrix = [[0.3, 0.622, 0.078], [0.23, 0.692, 0.078], [0.24342268924547819, 0.20476744424496821, 0]]
    matrix[2][2] = 1 - sum(matrix[2])
    one, two, three = np.cbrt(np.tensordot(matrix, linear, 1) + bias) - np.cbrt(bias)
    return np.stack([14 * (one - two) / 2 + 0.42, (one + two) / 2 + 0.01, three - (one + two) / 2 + 0.55])


def direct_score(image, reference):
    """The definition in float64 with plain sums in NumPy; weights are the module's."""
    weights = gaussian()

    def blur(plane):
        padded = np.pad(plane, len(weights) // 2)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (len(weights),) * 2)
        return np.einsum("hwij,i,j", windows, weights, weights, optimize=True)

    pair = [x.transpose(2, 0, 1) / 255 for x in (image, reference)]
    pair = [np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) for x in pair]
    norms = np.zeros((3, 6, 2, 3))
    for scale in range(6):
        for channel, (a, b) in enumerate(zip(*map(opponent, pair))):
            mean_a, mean_b = blur(a), blur(b)
            variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
            covariance = blur(a * b) - mean_a * mean_b
            structure = 1 - (1 - (mean_a - mean_b) ** 2) * (2 * covariance + 0.0009) / (variances + 0.0009)
            edges = (1 + abs(a - mean_a)) / (1 + abs(b - mean_b)) - 1
            for kind, errors in enumerate((structure, edges, -edges)):
                errors = np.maximum(errors, 0)
                norms[channel, scale, :, kind] = errors.mean(), (errors**4).mean() ** 0.25
        pair = [halved(x) for x in pair]
    total = 0.9562382616834844 * (norms.ravel() @ np.ravel(ssimulacra2.WEIGHTS))
    bent = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return 100 - 10 * bent**0.6276336467831387


@pytest.mark.parametrize("quality", [5, 30, 90])
def test_a_photograph_has_the_score_of_the_definition(quality):
    original = Image.open(LENA).crop((200, 200, 331, 315))  # of odd sides
    file = io.BytesIO()
    original.save(file, "JPEG", quality=quality)
    image, reference = np.asarray(Image.open(file)), np.asarray(original)
    assert ssimulacra2.score(image, reference) == pytest.approx(direct_score(image, reference), abs=0.005)
    assert ssimulacra2.score(reference, reference) == 100


@pytest.mark.parametrize("rows", [2, 50, 128])
def test_memory_is_bounded_and_no_border_shows(monkeypatch, rows):
    image, reference = noise(129, 1), noise(129, 2)
    whole = ssimulacra2.score(image, reference)
    monkeypatch.setattr(ssimulacra2, "BAND", 129 * rows)
    assert ssimulacra2.score(image, reference) == pytest.approx(whole, abs=1e-4)
    assert ssimulacra2.score(image, image) == 100
