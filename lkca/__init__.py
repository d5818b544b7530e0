"""Reproduction of LKCA-Net, a network for hyperspectral super-resolution, from raw data to every table and figure.

The public names are imported at their first use, so that `import lkca` is fast and needs neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lkca.config.load import read_config
    from lkca.data.catalog import CUBES
    from lkca.data.resize import resize
    from lkca.errors import LkcaError
    from lkca.models.registry import MODELS, build
    from lkca.scoring.metrics import SCORES, scores

__version__ = "0.1.0"
__all__ = ["CUBES", "MODELS", "SCORES", "LkcaError", "build", "read_config", "resize", "scores"]

_MODULES = {
    "CUBES": "lkca.data.catalog",
    "MODELS": "lkca.models.registry",
    "SCORES": "lkca.scoring.metrics",
    "LkcaError": "lkca.errors",
    "build": "lkca.models.registry",
    "read_config": "lkca.config.load",
    "resize": "lkca.data.resize",
    "scores": "lkca.scoring.metrics",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562) and return its value."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return [*__all__, "__version__"]
