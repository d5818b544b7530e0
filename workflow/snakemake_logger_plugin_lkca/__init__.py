"""Make Snakemake read `--configfile` and `--config` as lkca does, in a checkout of lkca.

Snakemake reads them before the Snakefile. Its reader runs the Python code in a file that has the key `__use_yte__`,
replaces aliases without a limit, and answers a missing file with a traceback; no option changes that. Snakemake imports
its plugins first, so this package has the name of one. It adds nothing to the logs.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake import cli
from snakemake.settings import types
from snakemake_interface_logger_plugins.base import LogHandlerBase

CHECKOUT = Path("workflow/rules/common.smk")  # other workflows of this environment keep Snakemake's reader


class LogHandler(LogHandlerBase):
    """The class that Snakemake asks for; `--logger lkca` has no meaning."""


def read_first(read: Callable[[Any], Any], original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function `original`, before which `read` reads the same argument and ends Snakemake if it fails."""

    def checked(argument: Any) -> Any:
        if not CHECKOUT.is_file():
            return original(argument)
        sys.path.insert(0, str(Path.cwd()))  # the lkca of this checkout, as in CHECKOUT
        from lkca.errors import LkcaError

        try:
            return read(argument)
        except LkcaError as error:
            sys.exit(f"lkca: {error}")

    return checked


def read_file(path: Path) -> dict[str, Any]:
    """Return the content of a file of `--configfile`."""
    from lkca.config.yaml_files import read_yaml

    return read_yaml(Path(path))


def read_options(options: list[str] | None) -> dict[str, Any]:
    """Return the settings of `--config`."""
    from lkca.config.load import parse_option

    return {key: value for option in options or [] for key, value in parse_option(option).items()}


types.load_configfile = read_first(read_file, types.load_configfile)
cli.parse_config = read_first(read_options, cli.parse_config)
