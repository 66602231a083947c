"""Trained networks to `.model` files: half precision, graphs, exact arithmetic, adaptive models."""

import contextlib
import copy
import logging
import os
import warnings
from collections.abc import Iterable

import numpy as np
import onnx
import torch
from torch import nn
from torch.export import Dim

from coding import entropy_model, latents
from coding.latents import Latents
from coding.modes import TUNES
from coding.tiles import STRIDE
from engines.model_file import ModelError, ModelFile
from model import AnalysisTransform, SynthesisTransform
from networks.entropy_model import EntropyModel

OPSET = 18


class Analysis(nn.Module):
    """All that is done to pixels before latents are coded: y, clipped to their range, and z, both real."""

    def __init__(self, transform: AnalysisTransform):
        super().__init__()
        self.transform = transform

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """y (1, K, H/16, W/16) and z (1, Z, ceil(H/64), ceil(W/64)) of pixels (1, 3, H, W) at a rate (1,)."""
        y = self.transform.clip(self.transform(x, t))
        return y, self.transform.hyper_latents(y).clamp(-latents.LARGEST, latents.LARGEST)


def finish(
    analysis: AnalysisTransform,
    synthesis: SynthesisTransform,
    network: EntropyModel,
    pictures: Iterable[torch.Tensor],
    lambda_: float,
    tune: str = TUNES[0],
) -> tuple[ModelFile, ModelFile]:
    """The encoder's and the decoder's file of what was trained, which stays as it is.

    network: of the entropy model.
    pictures: pixels (1, 3, H, W) in [0, 1], H and W multiples of 16; the adaptive models are fitted on them,
    at all rates in turn.
    lambda_, tune: of the training.
    Raises ModelError for weights that half precision does not hold.
    """
    analysis, synthesis, network = (_in_half_precision(part) for part in (analysis, synthesis, network))
    config = analysis.config
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    frozen = {name: weight.astype(np.float16) for name, weight in entropy_model.freeze(weights).items()}
    exact_model = entropy_model.EntropyModel(config.slices, frozen)
    coder = latents.fit(exact_model, config.kind, _samples(analysis, pictures))

    decoder = ModelFile("decoder", config, _to_onnx(synthesis, (config.channels, 5, 7), 1, ["y"]), coder)
    return encoder_for(decoder, analysis, lambda_, tune), decoder


def encoder_for(decoder: ModelFile, analysis: AnalysisTransform, lambda_: float, tune: str) -> ModelFile:
    """The encoder's file of an analysis transform that was trained for a decoder which is there already.

    lambda_, tune: of the training. Raises ModelError as `finish`.
    """
    graph = _analysis_to_onnx(_in_half_precision(analysis))
    coder = decoder.coder.tuned(tune)
    return ModelFile("encoder", decoder.config, graph, coder, decoder.id, lambda_, tune)


def _in_half_precision(module):
    """A copy of the module with its weights rounded to half precision, on the CPU."""
    module = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    state = {name: tensor.half() for name, tensor in module.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise ModelError("a weight does not fit half precision; nothing was saved")
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return module


@torch.inference_mode()
def _samples(analysis, pictures):
    """Latents and rate of each picture; rates far from one another follow each other."""
    mode, run = analysis.config.mode, Analysis(analysis)
    for index, x in enumerate(pictures):
        t = mode.rate(mode.undetailed[37 * index % len(mode.undetailed)])
        y, z = run(x.cpu(), torch.tensor([t]))
        yield Latents(*(part[0].permute(1, 2, 0).contiguous().numpy() for part in (y, z))), t


def _analysis_to_onnx(analysis):
    return _to_onnx(Analysis(analysis), (3, 5 * STRIDE, 7 * STRIDE), STRIDE, ["y", "z"])


def _to_onnx(module, shape, multiple, outputs):
    """Bytes of the ONNX file of a transform.

    shape: (C, h, w) of an input for the tracing; multiple: that any h and w are of.
    """
    rows, columns = (multiple * Dim(name, min=1, max=1 << 16) for name in ("rows", "columns"))
    with _quiet():
        program = torch.onnx.export(
            module.to(memory_format=torch.contiguous_format),
            (torch.zeros(1, *shape), torch.zeros(1)),
            input_names=["x", "t"],
            output_names=outputs,
            dynamic_shapes=({2: rows, 3: columns}, {}),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,  # which would fold weights into one another
            verbose=False,
        )
    return _halve(program.model_proto, set(module.state_dict())).SerializeToString()


@contextlib.contextmanager
def _quiet():
    """The exporter is talkative about itself, in ways that options do not reach."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(disabled)


def _halve(proto, names):
    """An ONNX model whose weights lie there in half precision, by their names in `model.py`."""
    casts, renamed = [], {}
    for weight in proto.graph.initializer:
        if weight.name in names:
            half = onnx.numpy_helper.to_array(weight).astype(np.float16)
            name = weight.name.removeprefix("transform.")
            renamed[weight.name] = f"{name}.float32"
            weight.CopyFrom(onnx.numpy_helper.from_array(half, name))
            casts.append(
                onnx.helper.make_node("Cast", [name], [f"{name}.float32"], to=onnx.TensorProto.FLOAT)
            )
    nodes = list(proto.graph.node)
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        del node.metadata_props[:]  # where each came from in our code, on this machine
    for part in (proto, proto.graph, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del part.metadata_props[:]
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(casts + nodes)
    onnx.checker.check_model(proto)
    return proto
