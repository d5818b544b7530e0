"""The command line: each option is a parameter of the function that its command calls.

A command is imported when it is called, so that `lkca --help` starts without numpy and torch.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_type_hints

from lkca import __version__
from lkca.errors import ConfigError, LkcaError

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T", bound="BaseModel")
Add = Callable[..., argparse.ArgumentParser]  # of module:function, description and name of a command


class Parser(argparse.ArgumentParser):
    """A parser whose error messages are one sentence, like all others of lkca."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit."""
        print(f"lkca: {message}: see {self.prog} --help.", file=sys.stderr)
        sys.exit(ConfigError.exit_code)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(prog="lkca", description="Hyperspectral super-resolution, reproduced.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"lkca {__version__}")
    subparsers = top.add_subparsers(required=True, title="commands", metavar="COMMAND")
    jobs: list[str] = []

    def add(function: str, text: str, name: str = "", is_job: bool = False) -> argparse.ArgumentParser:
        """Add a command that calls `module:function`. Its name is the function's by default; jobs have no help line."""
        name = name or function.rpartition(":")[2]
        options: dict[str, Any] = {} if is_job else {"help": text}
        jobs.extend([name] if is_job else [])
        c = subparsers.add_parser(name, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False, **options)
        c.set_defaults(function=function)
        return c

    _add_user_commands(add)
    _add_jobs(partial(add, is_job=True))
    top.epilog = f"Each job of the workflow is a command, too: {', '.join(jobs)}."
    return top


def _add_user_commands(add: Add) -> None:
    """Add the commands that users call."""
    c = add("lkca.commands.arrays:score", "print the six scores of one array against another")
    c.add_argument(
        "--reference", type=Path, required=True, help="ground truth, .npy, float (bands, rows, columns), peak 1"
    )
    c.add_argument("--estimate", type=Path, required=True, help="reconstruction, .npy, of the same shape")
    c.add_argument("--scale", type=int, required=True, help="upsampling factor (for ERGAS)")

    c = add("lkca.commands.arrays:resize", "resize an array as MATLAB's imresize does (bicubic, antialiased)")
    c.add_argument("--input", type=Path, required=True, help=".npy, float (bands, rows, columns)")
    c.add_argument("--factor", type=float, required=True, help="above 1 enlarges, below 1 shrinks")
    c.add_argument("--output", type=Path, required=True, help=".npy to write")

    c = add("lkca.commands.cost:print_costs", "print parameters and multiply-accumulates of the models as CSV", "cost")
    _add_config(c)
    c.add_argument("--model", help="a key of models in the configuration; all by default")
    c.add_argument("--bands", type=int, help="number of bands; those of each scene by default")
    c.add_argument("--scale", type=int, help="upsampling factor; each that has patches by default")

    c = add("lkca.pipeline.plan:plan", "show which jobs run, their progress, and what the rest will cost")
    _add_config(c)

    c = add("lkca.commands.fetch:fetch", "download the missing files of a scene and check all")
    _add_scene(c)
    c.add_argument("--accept-terms", action="store_true", help="accept the terms of the scene's owner; asked once")
    _add_config(c)

    c = add("lkca.commands.fetch:verify", "check whether a file is the right one for a scene")
    _add_scene(c)
    c.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the file, if it is in another place")
    _add_config(c)

    c = add("lkca.paper.score_tables:score_tables", "check a table of scores, yours or a paper's", "score-tables")
    c.add_argument("file", metavar="FILE.csv", type=Path, help="with the columns of lkca/paper/paper_tables.csv")

    c = add("lkca.pipeline.step:run_step", "run one job of the workflow and record what it was made from", "step")
    c.add_argument("name", metavar="JOB", help="as lkca plan names it")
    c.add_argument("--experiment", type=Path, required=True, help="the checked configuration, from the Snakefile")
    c.add_argument("--outputs", type=Path, nargs="+", required=True, help="in the order of the rule")
    c.add_argument("--gpus", type=int, default=1, help="number of GPUs, for a training")

    c = add(
        "lkca.pipeline.adopt:adopt",
        "declare that a change of code does not change the numbers of finished jobs",
    )
    _add_config(c)
    c.add_argument("--because", required=True, help="why the numbers stay the same; stored with the results")
    c.add_argument("jobs", metavar="JOB", nargs="*", help="as lkca plan names it, or its folder; all by default")

    c = add("lkca.pipeline.check:check", "verify the checksums of everything that a report depends on")
    c.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        default=Path("results"),
        help="the folder of an experiment, or of all (the default)",
    )


def _add_jobs(add: Add) -> None:
    """Add the commands that are the jobs of the workflow."""
    c = add("lkca.data.scenes:cut_scene", "cut a scene from its cube and divide it by its maximum", "scene")
    _add_paths(c, "--settings", "--out", "--manifest")

    c = add("lkca.data.splits:write_split", "divide a scene into test images, training and validation patches", "split")
    _add_paths(c, "--settings", "--manifest", "--out")

    c = add("lkca.config.run:write_run", "write the run.json of a run", "settings")
    _add_paths(c, "--settings")
    c.add_argument("--seed", type=int, required=True)
    _add_paths(c, "--scene", "--split")
    c.add_argument("--teacher", type=Path, nargs="?")  # no file: no teacher
    _add_paths(c, "--out")

    c = add("lkca.training.train:train", "train one network")
    _add_paths(c, "--run", "--scene", "--split")
    c.add_argument("--teacher", type=Path, nargs="?")
    _add_paths(c, "--out", "--history")
    c.add_argument("--gpus", type=int, default=1, help="number of GPUs; several share each batch")
    c.add_argument("--adopted", nargs="*", default=[], help="digests of other code whose training is resumed")

    c = add("lkca.scoring.evaluate:evaluate", "score a run on its test images")
    _add_paths(c, "--run", "--scene", "--split")
    c.add_argument("--weights", type=Path, nargs="?")  # no file: a method without training
    c.add_argument("--history", type=Path, nargs="?")
    c.add_argument("--image", type=int, required=True)
    c.add_argument("--composite", type=int, nargs=3, required=True)
    _add_paths(c, "--out", "--picture")

    c = add("lkca.scoring.singular_values:spectrum", "write the singular values of an upsampling layer")
    _add_paths(c, "--run", "--weights", "--out")

    c = add("lkca.scoring.benchmark:efficiency", "measure time, memory and energy of networks")
    _add_paths(c, "--settings", "--out")

    c = add("lkca.report.tables:write_table", "make a table", "table")
    _add_paths(c, "--settings")
    _add_path_lists(c, "--scores")
    _add_paths(c, "--printed", "--csv", "--markdown", "--latex", "--html", "--verdicts", "--comparisons")

    c = add("lkca.paper.bicubic_check:bicubic_check", "compare the bicubic rows with the paper's")
    _add_paths(c, "--settings")
    _add_path_lists(c, "--scores", "--manifests")
    _add_paths(c, "--printed", "--out", "--markdown")

    c = add("lkca.report.figures:draw_figure", "draw a figure", "figure")
    _add_paths(c, "--settings")
    _add_path_lists(c, "--scores", "--spectra", "--images", "--histories", "--efficiency")
    _add_paths(c, "--png", "--pdf")

    c = add(
        "lkca.paper.claims.check:check_claims",
        "check what the paper claims, on its tables and on our results",
        "claims",
    )
    _add_paths(c, "--settings")
    _add_path_lists(c, "--scores", "--spectra")
    _add_paths(c, "--printed", "--out", "--csv")

    c = add("lkca.report.page:write_report", "make the report", "report")
    _add_paths(c, "--settings")
    _add_path_lists(c, "--scenes", "--splits", "--runs", "--tables", "--figures", "--spectra", "--efficiency")
    _add_paths(c, "--claims", "--printed", "--out", "--provenance")


def _add_scene(c: argparse.ArgumentParser) -> None:
    c.add_argument("scene", metavar="SCENE", help="chikusei, houston2018, pavia_centre, or your own in config.yaml")


def _add_config(c: argparse.ArgumentParser) -> None:
    c.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="config.yaml and overlays")


def _add_paths(c: argparse.ArgumentParser, *options: str) -> None:
    for option in options:
        c.add_argument(option, type=Path, required=True)


def _add_path_lists(c: argparse.ArgumentParser, *options: str) -> None:
    for option in options:
        c.add_argument(option, type=Path, nargs="*", required=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: The arguments; those of the process by default.

    Returns:
        The exit code: the command's own, or 0 if it has none.
    """
    options = vars(make_parser().parse_args(words))
    module, _, function = options.pop("function").partition(":")
    try:
        call = getattr(import_module(module), function)
        if "settings" in options:
            options["settings"] = _read_settings(options["settings"], get_type_hints(call)["settings"])
        return call(**options) or 0
    except LkcaError as error:
        print(f"lkca: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has closed the pipe, as in: lkca ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _read_settings(path: Path, kind: type[T]) -> T:
    """Read the settings of a job from a JSON file.

    Args:
        path: The file.
        kind: The pydantic model that the function takes.

    Raises:
        ConfigError: If the file does not fit the model.
        DataError: If it is missing or is not JSON.
    """
    from pydantic import ValidationError

    from lkca.config.messages import format_error
    from lkca.core.files import read_json

    text = json.dumps(read_json(path))
    try:
        return kind.model_validate_json(text)  # in JSON, lists stand for tuples
    except ValidationError as error:
        raise ConfigError(format_error(kind, error, str(path))) from None
