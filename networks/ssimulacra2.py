"""SSIMULACRA2: how near a picture is to its original for the eye, as the metric's own program computes it.

J. Sneyers, "SSIMULACRA 2.1", https://github.com/cloudinary/ssimulacra2: maps of three kinds of error in the
colours XYB at six scales, the means and 4-norms of these 54 maps, and a weighted sum. Constants are those of
that program and of the parts of libjxl that it calls.
"""

import numpy as np
import torch
from torch.nn import functional

SCALES = 6
SMALLEST_SIDE = 113  # pixels, of a picture that has all scales
SMALLEST_TO_HALVE = 8  # pixels, of the shorter side
BAND = 2**18  # pixels, about, that are compared together, so that they alone need memory for maps
CONES = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)  # what each of three kinds takes up of linear red, green and blue
BIAS = 0.0037930732552754493
STABLE = 0.0009  # keeps the structural similarity of flat ground finite
# A Gaussian of sigma 1.5 as libjxl's gauss_blur.cc has it, a sum of cosines; from the middle outwards. Beyond
# the borders it takes pixels as 0. With another filter or border scores change by some points.
GAUSSIAN = (0.264621105488, 0.21292859201, 0.109335372777, 0.0360111146584, 0.00941436780965)
REACH = len(GAUSSIAN) - 1
# Of the mean and of the 4-norm, in turn, of a map of structure, of what is added, and of what is lost; a mean
# and a norm for each scale from the finest, and all scales for X, for Y and for B.
WEIGHTS = (
    (0, 0.0007376606707406586, 0),
    (0, 0.0007793481682867309, 0),
    (0, 0.0004371155730107379, 0),
    (1.1041726426657346, 0.00066284834129271, 0.00015231632783718752),
    (0, 0.0016406437456599754, 0),
    (1.8422455520539298, 11.441172603757666, 0),
    (0.0007989109436015163, 0.000176816438078653, 0),
    (1.8787594979546387, 10.94906990605142, 0),
    (0.0007289346991508072, 0.9677937080626833, 0),
    (0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053),
    (0.0004550992113792063, 0, 0),
    (0.0013648766163243398, 0, 0),
    (0, 0, 0),
    (7.466890328078848, 0, 17.445833984131262),
    (0.0006235601634041466, 0, 0),
    (6.683678146179332, 0.00037724407979611296, 1.027889937768264),
    (225.20515300849274, 0, 0),
    (19.213238186143016, 0.0011401524586618361, 0.001237755635509985),
    (176.39317598450694, 0, 0),
    (24.43300999870476, 0.28520802612117757, 0.0004485436923833408),
    (0, 0, 0),
    (34.77906344483772, 44.835625328877896, 0),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0.0008680556573291698, 0),
    (0, 0, 0),
    (0, 0.0005313191874358747, 0),
    (0.00016533814161379112, 0, 0),
    (0, 0, 0),
    (0.0004179171803251336, 0.0017290828234722833, 0),
    (0.0020827005846636437, 0, 0),
    (8.826982764996862, 23.19243343998926, 0),
    (95.1080498811086, 0.9863978034400682, 0.9834382792465353),
    (0.0012286405048278493, 171.2667255897307, 0.9807858872435379),
    (0, 0, 0),
    (0.0005130064588990679, 0, 0.00010854057858411537),
)


def score(image: np.ndarray, reference: np.ndarray) -> float:
    """At most 100, which equal pictures have; 90 is hard to tell from the original, 30 is poor.

    image, reference: uint8 (H, W, 3), sRGB, with sides of at least 8

    Below sides of SMALLEST_SIDE there are less than six scales, and the program gives the weights of some to
    others.
    """
    pair = [torch.tensor(pixels).permute(2, 0, 1) for pixels in (image, reference)]
    norms = []
    for _ in range(SCALES):
        side = min(pair[0].shape[1:])
        of_scale, pair = _compare(pair)
        norms.append(of_scale)
        if side < SMALLEST_TO_HALVE:
            break
    in_order = torch.stack(norms, 1).flatten()
    return on_its_scale((in_order * torch.tensor(WEIGHTS).flatten()[: len(in_order)]).sum().item())


def linear(rgb: torch.Tensor) -> torch.Tensor:
    """sRGB in [0, 1] without its gamma."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def colours(linear: torch.Tensor) -> torch.Tensor:
    """X, Y and B of linear RGB (..., 3, H, W), each about from 0 to 1."""
    taken = torch.einsum("kc,...chw->...khw", linear.new_tensor(CONES), linear)
    long, middle, short = ((taken + BIAS) ** (1 / 3) - BIAS ** (1 / 3)).unbind(-3)
    y = (long + middle) / 2
    return torch.stack([7 * (long - middle) + 0.42, y + 0.01, short - y + 0.55], -3)


def _compare(pair):
    """Norms of the errors between two pictures (3, H, W), and both in half their size.

    pair: uint8, sRGB, or linear, as the halves are

    The norms, float64 (3, 2, 3): of each channel means and 4-norms of three kinds of error.
    """
    height, width = pair[0].shape[1:]
    sums, halves = 0, []
    step = max(BAND // width // 2 * 2, 2)  # even, for halves
    for top in range(0, height, step):
        first = max(top - REACH, 0)
        # One by one: at another place of a tensor rounding may be another, and equal pictures would differ.
        lights = [_linear(picture[:, first : top + step + REACH]) for picture in pair]
        own = slice(top - first, top - first + step)
        errors = torch.stack(_maps(*map(colours, lights)), 1)[:, :, own]
        sums = sums + torch.stack([errors.sum((2, 3)), (errors**4).sum((2, 3))], 1).double()
        halves.append([functional.avg_pool2d(light[:, own], 2, ceil_mode=True) for light in lights])
    means, fourths = (sums / (height * width)).unbind(1)
    return torch.stack([means, fourths**0.25], 1), [torch.cat(parts, 1) for parts in zip(*halves)]


def _linear(picture):
    return picture if picture.is_floating_point() else linear(picture / 255)


def _maps(image, reference):
    """Maps of three kinds of error (3, H, W) by channel: of structure, of what is added, of what is lost."""
    moments = _blur(torch.cat([image, reference, image**2, reference**2, image * reference]))
    mean, reference_mean, square, reference_square, product = moments.split(3)
    # In this order equal pictures have twice the covariance to the last bit.
    variances = (square - mean**2) + (reference_square - reference_mean**2)
    covariance = product - mean * reference_mean
    alike = (1 - (mean - reference_mean) ** 2) * (2 * covariance + STABLE) / (variances + STABLE)
    edges = (1 + (image - mean).abs()) / (1 + (reference - reference_mean).abs()) - 1
    return (1 - alike).clamp(min=0), edges.clamp(min=0), (-edges).clamp(min=0)


def _blur(planes):
    """Planes (C, H, W) under GAUSSIAN."""
    weights, count = torch.tensor([*GAUSSIAN[:0:-1], *GAUSSIAN]), len(planes)
    across = weights.expand(count, 1, 1, -1)
    rows = functional.conv2d(planes[None], across, padding=(0, REACH), groups=count)
    return functional.conv2d(rows, across.transpose(2, 3), padding=(REACH, 0), groups=count)[0]


def on_its_scale(total: float) -> float:
    """The score of a weighted sum of errors, bent to what viewers said."""
    total *= 0.9562382616834844
    total = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return 100 - 10 * max(total, 0) ** 0.6276336467831387
