"""Apply the ONNX graph of a trained network by ONNX Runtime or OpenVINO; torch need not be installed."""

import hashlib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from rich.filesize import decimal

from lkca.core.files import open_file, system_error
from lkca.errors import ConfigError, DataError, ResourceError
from lkca.inference.cube_file import ArrayImage, WriteArray
from lkca.inference.result import MEMORY_SHARE, Deviation, Mode
from lkca.inference.shared_model import SharedModel, read_facts, refuse

Runtime = Literal["onnxruntime", "openvino"]
MEMORY = "lkca_bytes_per_pixel"  # key of the metadata: memory that torch needs for a pixel of the LR image
MORE_MEMORY = {"onnxruntime": 1.1, "openvino": 1.8}  # memory divided by that of torch; measured for 192 x 192 pixels
MAX_BYTES_PER_PIXEL = 10**9
Run = Callable[[np.ndarray], np.ndarray]  # (1, bands, rows, columns) -> (1, bands, r * rows, r * columns)


class OnnxModel:
    """A trained network as an ONNX graph.

    Args:
        path: The .onnx file that `lkca export` has written.
        runtime: The program that computes the graph.

    Attributes:
        facts: What is known about the network.
        sha256: SHA-256 of the file.

    Raises:
        ConfigError: If the program is not installed.
        DataError: If the file is damaged, or not of lkca or of this version.
    """

    def __init__(self, path: Path, runtime: Runtime) -> None:
        if missing := [name for name in ("onnx", runtime) if find_spec(name) is None]:
            extra = "onnx" if runtime == "onnxruntime" else runtime
            raise ConfigError(f"--engine {runtime} needs {' and '.join(missing)}: install the extra {extra} of lkca.")
        self._path = path
        try:
            with open_file(path) as file:
                content = file.read()
        except FileNotFoundError:
            raise DataError(f"{path} does not exist: correct the path.") from None
        except OSError as error:
            raise system_error(error) from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            metadata, bands = _read_graph(content)
            self._run = load_graph(content, runtime)
        except Exception as error:  # of onnx, onnxruntime or openvino, which have no class in common
            raise refuse(path, str(error).strip().partition("\n")[0] or "it is empty") from None
        self.facts: SharedModel = read_facts(path, metadata)
        memory = metadata.get(MEMORY, "")
        if not memory.isdecimal() or not 0 < int(memory) <= MAX_BYTES_PER_PIXEL:
            raise refuse(path, f"its metadata has no valid {MEMORY}")
        self._bytes_per_pixel = int(memory) * MORE_MEMORY[runtime]
        if bands != self.facts.bands:
            raise refuse(path, f"its graph has {bands} bands, and its description {self.facts.bands}")

    def enlarge(self, image: ArrayImage, mode: Mode, scratch: Path, write: WriteArray) -> Deviation | None:
        """Apply the network to a whole image at once, which is the result of `stats`, too.

        Args:
            image: The LR image, without NaN.
            mode: `whole` or `stats`.
            scratch: Not used.
            write: Function that gets the result.

        Raises:
            ConfigError: If the mode is `halo`.
            DataError: If the graph cannot be computed, or its result has another size.
            ResourceError: If the memory is too small.
        """
        if mode == "halo":
            raise ConfigError("--mode halo needs --engine torch: a graph is applied to the whole image at once.")
        bands, rows, columns = image.shape
        needed, available = int(self._bytes_per_pixel * rows * columns), psutil.virtual_memory().available
        if needed > MEMORY_SHARE * available:
            raise ResourceError(
                f"{self._path} needs about {decimal(needed)} of memory for {rows} x {columns} pixels, and "
                f"{decimal(available)} are available: use model.safetensors of the same export with --engine torch."
            )
        lr = image.read((0, rows))[None]
        try:
            result = self._run(lr)
        except Exception as error:  # as above
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"{self._path} cannot be computed ({reason}): get the file again.") from error
        scale = self.facts.scale
        if result.shape != (1, bands, scale * rows, scale * columns) or result.dtype != np.float32:
            raise DataError(f"{self._path} gives a result of another size than it describes: get the file again.")
        write(result[0], 0, 0)
        return None


def _read_graph(content: bytes) -> tuple[dict[str, str], int]:
    """Return the metadata and the number of bands of a graph.

    Raises:
        ValueError: If it has values that are not finite, which a graph can turn into wrong finite results, or that are
            in another file.
        Exception: If it is no graph; the errors of onnx have no class in common.
    """
    onnx = import_module("onnx")
    model = onnx.load_from_string(content)
    constants = [each.t for node in model.graph.node for each in node.attribute if each.HasField("t")]
    for tensor in [*model.graph.initializer, *constants]:
        if onnx.external_data_helper.uses_external_data(tensor):
            raise ValueError("it has weights in another file")
        values = onnx.numpy_helper.to_array(tensor)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise ValueError("it has weights that are NaN or infinite")
    bands = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    return {each.key: each.value for each in model.metadata_props}, bands


def load_graph(content: bytes, runtime: Runtime) -> Run:
    """Return a function that computes a graph.

    Args:
        content: The bytes of the .onnx file.
        runtime: The program that computes it.

    Raises:
        Exception: If the program cannot read it; the errors of the two have no class in common.
    """
    return _load_onnxruntime(content) if runtime == "onnxruntime" else _load_openvino(content)


def _load_onnxruntime(content: bytes) -> Run:
    """Return a function that computes a graph by ONNX Runtime."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, too
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda lr: session.run(None, {session.get_inputs()[0].name: lr})[0]


def _load_openvino(content: bytes) -> Run:
    """Return a function that computes a graph by OpenVINO."""
    openvino = import_module("openvino")
    core = openvino.Core()
    model = core.read_model(content, b"")

    def run(lr: np.ndarray) -> np.ndarray:
        model.reshape({0: lr.shape})  # a graph for exactly this size is faster
        # On some processors, OpenVINO computes in bfloat16 unless it is told not to.
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return compiled({0: lr})[0]

    return run
