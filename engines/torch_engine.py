"""The engine for GPUs, for the search before coding and for training: PyTorch."""

import numpy as np
import onnx
import torch

import model
from engines.export import Analysis
from engines.model_file import ModelFile


class Transform:
    """A transform, see `pair.py`; module: the network itself, in evaluation mode."""

    def __init__(self, file: ModelFile, device: str):
        transform_class = {"encoder": model.AnalysisTransform, "decoder": model.SynthesisTransform}[file.kind]
        self.module, self.device = transform_class(file.config).eval(), torch.device(device)
        self.module.load_state_dict(_weights(file.transform))
        self.module.to(device, memory_format=torch.channels_last)
        self._run = Analysis(self.module) if file.kind == "encoder" else self.module

    @torch.inference_mode()
    def __call__(self, x: np.ndarray, t: float) -> list[np.ndarray]:
        x = torch.from_numpy(x).to(self.device, memory_format=torch.channels_last)
        outputs = self._run(x, torch.tensor([t], dtype=torch.float32, device=self.device))
        return [y.cpu().numpy() for y in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _weights(graph):
    """The weights in the bytes of an ONNX file, float32, by their names."""
    initializers = onnx.load_model_from_string(graph).graph.initializer
    arrays = {weight.name: onnx.numpy_helper.to_array(weight) for weight in initializers}
    return {
        name: torch.from_numpy(array.astype(np.float32))
        for name, array in arrays.items()
        if array.dtype == np.float16
    }
