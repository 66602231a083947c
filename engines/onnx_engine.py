"""The light engine: ONNX Runtime, on the CPU."""

import os

import numpy as np
import onnxruntime

from coding.errors import is_lack_of_memory
from engines.model_file import ModelError, ModelFile


class Transform:
    """A transform, see `pair.py`; device: "cpu"."""

    module = None

    def __init__(self, file: ModelFile, device: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads()
        # Threads that wait for the next picture with a busy loop would take the cores from the entropy model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what fails is raised
        # Sizes change from picture to picture: memory that is kept for the last one is in the way.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(
            file.transform,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # which prints what is wrong, and tries the same again
        )
        if [value.name for value in self._session.get_inputs()] != ["x", "t"]:
            raise ValueError("no transform")

    def __call__(self, x: np.ndarray, t: float) -> list[np.ndarray]:
        try:
            return self._session.run(None, {"x": np.ascontiguousarray(x), "t": np.array([t], np.float32)})
        except Exception as error:  # a transform of a foreign file can fail in any way
            if is_lack_of_memory(error):
                raise
            raise ModelError("the transform of this model cannot be run") from error


def _threads():
    """As other libraries do: of a list the number of the outermost level; 0, for all, where none is said."""
    number = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(number), os.cpu_count() or 1) if number.isdecimal() else 0
