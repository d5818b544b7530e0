"""Apply the ONNX graph of a trained network by ONNX Runtime or OpenVINO; torch need not be installed."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

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
# Memory divided by that of torch; measured: 1.1 and 1.7 for LKCA-LR with 200 bands, 1.5 and 1.0 for VDSR with 10 bands.
MORE_MEMORY = {"onnxruntime": 1.5, "openvino": 1.8}
RESULT_COPIES = 3  # of the result, while it is written
OPSET = 20  # the newest that torch's exporter by tracing writes
PLAIN_ATTRIBUTES = {1, 2, 3, 4, 6, 7}  # AttributeProto.FLOAT, INT, STRING, TENSOR, FLOATS and INTS
Compute = Callable[[np.ndarray], np.ndarray]  # (1, bands, rows, columns) -> (1, bands, r * rows, r * columns)


@dataclass(frozen=True)
class Graph:
    """An ONNX graph of `lkca export` that was read and checked, but not loaded.

    Args:
        content: The bytes of the file.
        facts: What is known about the network.
        sha256: SHA-256 of the file.
        bytes_per_pixel: Memory that torch needs for a pixel of the LR image.
    """

    content: bytes
    facts: SharedModel
    sha256: str
    bytes_per_pixel: int


class OnnxModel:
    """A trained network as an ONNX graph.

    Args:
        path: The .onnx file that `lkca export` has written.
        runtime: The program that computes the graph; None for the one that is installed.

    Attributes:
        facts: What is known about the network.
        sha256: SHA-256 of the file.

    Raises:
        ConfigError: If the program is not installed.
        DataError: If the file is damaged, or not of lkca or of this version.
    """

    def __init__(self, path: Path, runtime: Runtime | None) -> None:
        chosen: Runtime = runtime or "onnxruntime"
        if runtime is None and _is_missing("onnxruntime") and not _is_missing("openvino"):
            chosen = "openvino"
        import_package(chosen)
        graph = read_graph(path)
        self._path, self.facts, self.sha256 = path, graph.facts, graph.sha256
        self._bytes_per_pixel = graph.bytes_per_pixel * MORE_MEMORY[chosen]
        try:
            self._compute = load_graph(graph.content, chosen)
        except Exception as error:  # of onnxruntime or openvino, which have no class in common
            raise refuse(path, f"{chosen} cannot load it ({_last_line(error)})") from None

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
        result_bytes = RESULT_COPIES * 4 * bands * self.facts.scale**2
        needed = int((self._bytes_per_pixel + result_bytes) * rows * columns)
        available = psutil.virtual_memory().available
        if needed > MEMORY_SHARE * available:
            raise ResourceError(
                f"{self._path} needs about {decimal(needed)} of memory for {rows} x {columns} pixels, and "
                f"{decimal(available)} are available: use model.safetensors of the same export with --engine torch."
            )
        lr = image.read((0, rows))[None]
        try:
            result = self._compute(lr)
        except Exception as error:  # as above
            raise DataError(f"{self._path} cannot be computed ({_last_line(error)}): get the file again.") from error
        scale = self.facts.scale
        if result.shape != (1, bands, scale * rows, scale * columns) or result.dtype != np.float32:
            raise DataError(f"{self._path} gives a result of another size than it describes: get the file again.")
        write(result[0], 0, 0)
        return None


def read_graph(path: Path) -> Graph:
    """Read the ONNX graph of a network, and check it.

    Raises:
        ConfigError: If the package onnx is not installed.
        DataError: If the file is damaged, or not of lkca or of this version.
    """
    onnx = import_package("onnx")
    try:
        with open_file(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: correct the path.") from None
    except OSError as error:
        raise system_error(error) from error
    if not content:
        raise refuse(path, "it is empty")
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # of protobuf
        raise refuse(path, f"it is no ONNX graph ({_last_line(error)})") from None
    metadata = {each.key: each.value for each in model.metadata_props}
    facts = read_facts(path, metadata)
    if problem := _find_problem(onnx, model, facts):
        raise refuse(path, problem)
    memory = metadata.get(MEMORY, "")
    if not re.fullmatch("[1-9][0-9]{0,8}", memory):
        raise refuse(path, f"its metadata has no valid {MEMORY}")
    return Graph(content, facts, hashlib.sha256(content).hexdigest(), int(memory))


def _find_problem(onnx: Any, model: Any, facts: SharedModel) -> str | None:
    """Return in which way a graph is not one that `lkca export` writes; None if it is one.

    Programs compute some other graphs without an error and with wrong values: they read weights from other files, pass
    a NaN through as 0, or take 0 for an input that they do not get.
    """
    graph = model.graph
    if [(each.domain, each.version) for each in model.opset_import] != [("", OPSET)]:
        return f"its operators are not those of opset {OPSET}"
    if model.functions or graph.sparse_initializer or any(node.domain for node in graph.node):
        return "it has functions, sparse weights or operators of others"
    if [each.name for each in graph.input] != ["lr"] or [each.name for each in graph.output] != ["sr"]:
        return "it does not have the one input lr and the one output sr"
    for end in (graph.input[0], graph.output[0]):
        kind = end.type.tensor_type
        sizes = [each.dim_value for each in kind.shape.dim]  # 0 for one that is free
        if kind.elem_type != onnx.TensorProto.FLOAT or sizes not in ([1, facts.bands, 0, 0], [1, 0, 0, 0]):
            return f"its {end.name} is not float32 (1, {facts.bands}, rows, columns) of any size"
    for node in graph.node:
        if any(each.type not in PLAIN_ATTRIBUTES for each in node.attribute):
            return f"its operator {node.op_type} has a graph or a list of weights in it"
    constants = [each.t for node in graph.node for each in node.attribute if each.HasField("t")]
    for tensor in [*graph.initializer, *constants]:
        if onnx.external_data_helper.uses_external_data(tensor):
            return "it has weights in another file"
        try:
            values = onnx.numpy_helper.to_array(tensor)
        except Exception:  # of numpy or onnx
            return "it has a weight of a wrong size"
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            return "it has weights that are NaN or infinite"
    numbers = [number for node in graph.node for each in node.attribute for number in (each.f, *each.floats)]
    return None if np.isfinite(numbers).all() else "it has numbers that are NaN or infinite"


def _last_line(error: Exception) -> str:
    """Return the last line of the text of an error that is not empty; those before it often name lines of C++."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _is_missing(package: str) -> bool:
    return find_spec(package) is None


def import_package(name: str) -> Any:
    """Return a package that only graphs need.

    Raises:
        ConfigError: If it is not installed, or cannot be imported.
    """
    if _is_missing(name):
        extra = "openvino" if name == "openvino" else "onnx"
        raise ConfigError(f".onnx files need {name}: install the extra {extra} of lkca.")
    try:
        return import_module(name)
    except Exception as error:  # a library of the system may be missing
        raise ConfigError(f"{name} cannot be imported ({_last_line(error)}): install it again.") from error


def load_graph(content: bytes, runtime: Runtime) -> Compute:
    """Return a function that computes a graph.

    Args:
        content: The bytes of the .onnx file.
        runtime: The program that computes it.

    Raises:
        Exception: If the program cannot read it; the errors of the two have no class in common.
    """
    return _load_onnxruntime(content) if runtime == "onnxruntime" else _load_openvino(content)


def _load_onnxruntime(content: bytes) -> Compute:
    """Return a function that computes a graph by ONNX Runtime."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, too
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda lr: session.run(None, {"lr": lr})[0]


def _load_openvino(content: bytes) -> Compute:
    """Return a function that computes a graph by OpenVINO."""
    openvino = import_module("openvino")
    core = openvino.Core()
    model = core.read_model(content, b"")

    def run(lr: np.ndarray) -> np.ndarray:
        model.reshape({0: lr.shape})  # a graph for exactly this size is faster
        # By default, OpenVINO computes in bfloat16 on some processors.
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return compiled({0: lr})[0]

    return run
