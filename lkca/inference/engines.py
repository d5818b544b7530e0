"""Load a trained network for one of the programs that can compute it."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lkca.errors import ConfigError
from lkca.inference.onnx_model import OnnxModel

if TYPE_CHECKING:
    from lkca.inference.model_file import LoadedModel

Engine = Literal["torch", "onnxruntime", "openvino"]


def is_graph(path: Path) -> bool:
    """Return whether a path is that of an ONNX graph, by its name."""
    return path.suffix.lower() == ".onnx"


def load_torch_network(path: Path) -> "LoadedModel":
    """Load a trained network for torch.

    Args:
        path: Folder of a run, or a .safetensors file of `lkca export`.

    Raises:
        ConfigError: If torch is not installed.
        DataError: If the model is damaged or not one of lkca.
    """
    if find_spec("torch") is None:
        raise ConfigError(f"{path} needs torch: install it, or use the .onnx file of lkca export.")
    from lkca.inference.model_file import load_model  # imports torch, which .onnx files do not need

    return load_model(path)


def load_network(path: Path, engine: Engine | None) -> "LoadedModel | OnnxModel":
    """Load a trained network.

    Args:
        path: Folder of a run, or a .safetensors or .onnx file of `lkca export`.
        engine: Program that computes the network; None for torch or, if it is an .onnx file, for the program for such
            files that is installed.

    Raises:
        ConfigError: If the program cannot compute this model, or is not installed.
        DataError: If the model is damaged or not one of lkca.
    """
    if not is_graph(path):
        if engine not in (None, "torch"):
            raise ConfigError(f"--engine {engine} needs an .onnx file: write one with lkca export, and name it.")
        return load_torch_network(path)
    if engine == "torch":
        raise ConfigError(f"--engine torch cannot compute {path}: name the .safetensors file of the same export.")
    return OnnxModel(path, engine)
