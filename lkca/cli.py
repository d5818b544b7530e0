"""The command line. Each command calls a function, and its options are the parameters of that function.

The module of a command is imported when the command is called, so that `lkca --help` does not import numpy or torch.
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
from lkca.core.printing import MAX_MESSAGE, escape_output, printable
from lkca.data.urls import is_url
from lkca.errors import ConfigError, LkcaError

if TYPE_CHECKING:
    from pydantic import BaseModel

Settings = TypeVar("Settings", bound="BaseModel")
# A function that adds a command; its arguments are `module:function`, the description, and the name of the command.
AddCommand = Callable[..., argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """A parser whose error messages are one sentence, like all error messages of lkca."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the code of ConfigError."""
        print(f"lkca: {printable(message, MAX_MESSAGE)}: see {self.prog} --help.", file=sys.stderr)
        sys.exit(ConfigError.exit_code)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(prog="lkca", description="Hyperspectral super-resolution, reproduced.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"lkca {__version__}")
    subparsers = top.add_subparsers(required=True, title="commands", metavar="COMMAND")
    jobs: list[str] = []

    def add(function: str, text: str, name: str = "", is_job: bool = False) -> argparse.ArgumentParser:
        """Add a command that calls `function`, a `module:function`, and return its parser.

        The name of the command is by default that of the function. Jobs are not listed in the help of `lkca`.
        """
        name = name or function.rpartition(":")[2]
        options: dict[str, Any] = {} if is_job else {"help": text}
        jobs.extend([name] if is_job else [])
        command = subparsers.add_parser(
            name, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False, **options
        )
        command.set_defaults(function=function)
        return command

    _add_user_commands(add)
    _add_jobs(partial(add, is_job=True))
    top.epilog = f"Each job of the workflow is a command, too: {', '.join(jobs)}."
    return top


def _add_user_commands(add: AddCommand) -> None:
    """Add the commands that users call."""
    formats = "(bands, rows, columns) in .npy, or any format of a cube"
    command = add("lkca.commands.arrays:score", "print the scores of one array against another")
    command.add_argument("--reference", type=_read_path, required=True, help=f"ground truth {formats}")
    command.add_argument("--estimate", type=_read_path, required=True, help="reconstruction with the same shape")
    command.add_argument("--scale", type=int, required=True, help="upsampling factor, which only ERGAS needs")
    command.add_argument(
        "--peak",
        type=float,
        nargs="+",
        help="value that stands for a reflectance of 1 in both files, or in each file; default: 1",
    )
    _add_array(command, "both files, or in each file", nargs="+")

    command = add("lkca.commands.arrays:resize", "resize an array as MATLAB's imresize does (bicubic, antialiased)")
    command.add_argument("--input", type=_read_path, required=True, help=f"array {formats}")
    command.add_argument("--factor", type=float, required=True, help="above 1 enlarges, below 1 shrinks")
    command.add_argument("--output", type=_read_path, required=True, help=".npy to write")
    _add_array(command, "the file")

    command = add(
        "lkca.commands.cost:print_costs", "print parameters and multiply-accumulates of the models as CSV", "cost"
    )
    _add_config(command)
    command.add_argument("--model", help="key of a model in the configuration; default: all models")
    command.add_argument("--bands", type=int, help="number of bands; default: the number of bands of each scene")
    command.add_argument("--scale", type=int, help="upsampling factor; default: each factor in the configuration")

    command = add(
        "lkca.commands.sharpen:sharpen",
        "learn from a cube how to enlarge it, test that on held-out blocks, and enlarge it",
    )
    _add_source(command)
    command.add_argument("--scale", type=int, default=4, help="upsampling factor; default: 4")
    command.add_argument("--method", default="lkca_lr", help="key of a model in config.yaml; default: lkca_lr")
    command.add_argument("--minutes", type=float, default=30, help="time that the command may take, about; default: 30")
    command.add_argument("--steps", type=int, help="training steps; default: as many as the minutes allow")
    command.add_argument(
        "--blur",
        default="bicubic",
        help="how the cube is degraded for the training: bicubic, or mtf:0.3 for a sensor with this MTF at Nyquist",
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the training; default: 0")
    command.add_argument(
        "--or-bicubic", action="store_true", help="write bicubic's result if the network is not better on the blocks"
    )
    _add_result(command)

    command = add("lkca.commands.upscale:upscale", "enlarge a cube with a network that is trained already")
    _add_source(command)
    command.add_argument(
        "--model",
        type=_read_path,
        required=True,
        help="folder of a run, or a .safetensors or .onnx file of lkca export",
    )
    command.add_argument(
        "--engine",
        choices=("torch", "onnxruntime", "openvino"),
        help="program that computes the network; default: onnxruntime or openvino for an .onnx file, else torch",
    )
    _add_result(command)

    command = add("lkca.commands.share:export", "write a trained network with its model card, and as ONNX, to share it")
    command.add_argument(
        "run", metavar="RUN", type=_read_path, help="folder of a run, with run.json and weights.safetensors"
    )
    command.add_argument("folder", metavar="DIR", type=_read_path, help="folder to write, new or of an earlier export")
    command.add_argument("--licence", help="licence of the weights, such as CC-BY-4.0; default: none stated")

    command = add("lkca.commands.info:info", "print what a shared network says about itself")
    command.add_argument(
        "file", metavar="FILE", type=_read_path, help="exported .safetensors or .onnx, or the folder of a run"
    )

    command = add(
        "lkca.pipeline.plan:plan",
        "show which jobs will run, their progress, and the time, memory and disk that they need",
    )
    _add_config(command)

    command = add("lkca.commands.fetch:fetch", "download the missing files of a scene and check all files")
    _add_scene(command)
    command.add_argument(
        "--accept-terms", action="store_true", help="accept the terms of the scene's owner; needed once"
    )
    _add_config(command)

    command = add("lkca.commands.fetch:verify", "check the files of a scene, and all that a run of it will check")
    _add_scene(command)
    command.add_argument(
        "file",
        metavar="FILE",
        type=_read_path,
        nargs="?",
        help="file to check; default: the files at the paths in the configuration",
    )
    _add_config(command)

    command = add(
        "lkca.paper.score_tables:score_tables", "check a table of scores, your own or that of a paper", "score-tables"
    )
    command.add_argument(
        "file", metavar="FILE.csv", type=_read_path, help="table with the columns of lkca/paper/paper_tables.csv"
    )

    command = add(
        "lkca.pipeline.step:run_step",
        "run one job of the workflow and record the inputs, settings and code of its results",
        "step",
    )
    command.add_argument("name", metavar="JOB", help="name of the job, as lkca plan prints it")
    command.add_argument(
        "--experiment", type=_read_path, required=True, help="the checked configuration that the Snakefile writes"
    )
    command.add_argument(
        "--outputs", type=_read_path, nargs="+", required=True, help="files to write, in the order of the rule"
    )
    command.add_argument("--gpus", type=int, default=1, help="number of GPUs for a training")

    command = add(
        "lkca.pipeline.adopt:adopt",
        "declare that a change of code does not change the numbers of finished jobs",
    )
    _add_config(command)
    command.add_argument("--because", required=True, help="why the numbers stay the same; stored with the results")
    command.add_argument(
        "jobs", metavar="JOB", nargs="*", help="name of a job, as lkca plan prints it, or its folder; default: all"
    )

    command = add("lkca.pipeline.check:check", "verify the checksums of everything that a report depends on")
    command.add_argument(
        "folder",
        metavar="FOLDER",
        type=_read_path,
        nargs="?",
        default=Path("results"),
        help="folder of an experiment or of all experiments; default: results",
    )


def _add_jobs(add: AddCommand) -> None:
    """Add the commands that are the jobs of the workflow."""
    command = add("lkca.data.scenes:cut_scene", "cut a scene from its cube and divide it by its maximum", "scene")
    _add_paths(command, "--settings", "--out", "--manifest")

    command = add(
        "lkca.data.splits:write_split", "divide a scene into test images, training and validation patches", "split"
    )
    _add_paths(command, "--settings")
    command.add_argument("--image", type=int, required=True)
    _add_paths(command, "--scene", "--manifest", "--out")

    command = add("lkca.config.run:write_run", "write the run.json of a run", "settings")
    _add_paths(command, "--settings")
    command.add_argument("--seed", type=int, required=True)
    _add_paths(command, "--scene", "--split")
    command.add_argument("--teacher", type=_read_path, nargs="?")  # without a file, there is no teacher
    _add_paths(command, "--out")

    command = add("lkca.training.train:train", "train one network")
    _add_paths(command, "--run", "--scene", "--split")
    command.add_argument("--teacher", type=_read_path, nargs="?")
    _add_paths(command, "--out", "--history")
    command.add_argument("--gpus", type=int, default=1, help="number of GPUs; several share each batch")
    command.add_argument(
        "--adopted", nargs="*", default=[], help="digests of other code whose checkpoints may be resumed"
    )

    command = add("lkca.scoring.evaluate:evaluate", "score a run on its test images")
    _add_paths(command, "--run", "--scene", "--split", "--manifest")
    command.add_argument("--weights", type=_read_path, nargs="?")  # without a file, the method needs no training
    command.add_argument("--history", type=_read_path, nargs="?")
    command.add_argument("--image", type=int, required=True)
    command.add_argument("--composite", type=_read_colour, nargs=3, help="numbers of bands, or wavelengths as in 660nm")
    _add_paths(command, "--out", "--picture")

    command = add("lkca.scoring.singular_values:spectrum", "write the singular values of an upsampling layer")
    _add_paths(command, "--run", "--weights", "--out")

    command = add("lkca.scoring.benchmark:efficiency", "measure time, memory and energy of networks")
    _add_paths(command, "--settings", "--out")

    command = add("lkca.report.tables:write_table", "make a table", "table")
    _add_paths(command, "--settings")
    _add_path_lists(command, "--scores")
    _add_paths(command, "--printed", "--csv", "--markdown", "--latex", "--html", "--verdicts", "--comparisons")

    command = add("lkca.paper.bicubic_check:bicubic_check", "compare the bicubic rows with the paper's")
    _add_paths(command, "--settings")
    _add_path_lists(command, "--scores", "--manifests")
    _add_paths(command, "--printed", "--out", "--markdown")

    command = add("lkca.report.figures:draw_figure", "draw a figure", "figure")
    _add_paths(command, "--settings")
    _add_path_lists(command, "--scores", "--spectra", "--images", "--histories", "--efficiency", "--manifests")
    _add_paths(command, "--png", "--pdf")

    command = add(
        "lkca.paper.claims.check:check_claims",
        "check what the paper claims, on its tables and on our results",
        "claims",
    )
    _add_paths(command, "--settings")
    _add_path_lists(command, "--scores", "--spectra")
    _add_paths(command, "--printed", "--out", "--csv")

    command = add("lkca.report.page:write_report", "make the report", "report")
    _add_paths(command, "--settings")
    _add_path_lists(command, "--scenes", "--splits", "--runs", "--tables", "--figures", "--spectra", "--efficiency")
    _add_paths(command, "--claims", "--printed", "--out", "--provenance")


def _read_path(text: str) -> Path:
    """Return the path of a file.

    Raises:
        ArgumentTypeError: If it is a URL; the message does not show it, because a part of it may be secret.
    """
    if is_url(text):
        raise argparse.ArgumentTypeError("it is a URL: download the file and give its path")
    return Path(text)


def _read_colour(text: str) -> int | str:
    """Return the number of a band, or a wavelength as it is.

    Raises:
        ArgumentTypeError: If it is neither.
    """
    from lkca.data.composite import parse_wavelength

    if text.isdecimal():
        return int(text)
    try:
        parse_wavelength(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return text


def _add_array(command: argparse.ArgumentParser, files: str, nargs: str | None = None) -> None:
    command.add_argument(
        "--axes",
        nargs="+",
        metavar="AXIS",
        help=f"order of the axes in {files}, such as: rows columns bands; default: the usual order of the format",
    )
    command.add_argument(
        "--variable", nargs=nargs, help=f"name of the array in {files}; default: the only array with three axes"
    )


def _add_source(command: argparse.ArgumentParser) -> None:
    """Add the files of a command that enlarges a cube."""
    command.add_argument("source", metavar="INPUT", type=_read_path, help="the cube, in any format that lkca reads")
    command.add_argument(
        "output",
        metavar="OUTPUT",
        type=_read_path,
        help="file to write: .tif, .img, .dat, .bsq, .bil, .bip, .nc or .npy",
    )


def _add_result(command: argparse.ArgumentParser) -> None:
    """Add the options of a command that enlarges a cube: how it is applied, read and written."""
    command.add_argument(
        "--mode",
        choices=("whole", "stats", "halo"),
        default="stats",
        help="whole: all at once; stats: the same result in little memory (default); halo: in tiles, nearly the same",
    )
    command.add_argument(
        "--bands", default="all", help="bands to use, as in 1-103,109-149; default: all that are not declared as bad"
    )
    command.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what INPUT does not say of itself, as in invalid=0 or axes='rows columns bands'; keys: variable, axes, "
        "pixels, gain, offset, invalid, mask, crop, nanometres, fwhm",
    )
    command.add_argument(
        "--dtype",
        choices=("float32", "int16", "uint16", "int32", "uint32"),
        help="type of the result; float32 for physical values; default: that of INPUT, with its gains and offsets",
    )
    command.add_argument("--cog", action="store_true", help="write a Cloud Optimized GeoTIFF")


def _add_scene(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "scene", metavar="SCENE", help="chikusei, houston2018, pavia_centre, or your own in config.yaml"
    )


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=_read_path,
        nargs="+",
        default=[Path("config.yaml")],
        help="overlays; config.yaml of the current folder is always read first, if there is one, as by snakemake",
    )


def _add_paths(command: argparse.ArgumentParser, *options: str) -> None:
    for option in options:
        command.add_argument(option, type=_read_path, required=True)


def _add_path_lists(command: argparse.ArgumentParser, *options: str) -> None:
    for option in options:
        command.add_argument(option, type=_read_path, nargs="*", required=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The arguments of the command line; None for those of the process.

    Returns:
        The exit code: the return value of the command, 0 if that is None, or the code of the error.
    """
    escape_output()
    options = vars(make_parser().parse_args(arguments))
    module, _, function = options.pop("function").partition(":")
    try:
        call = getattr(import_module(module), function)
        if "settings" in options:
            options["settings"] = _read_settings(options["settings"], get_type_hints(call)["settings"])
        if isinstance(options.get("scene"), Path):
            _check_scene_files(options["scene"], options.get("split"))
        code: int = call(**options) or 0
        sys.stdout.flush()  # here, so that a full disk is an error of the command
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has closed the pipe, as in: lkca ... | head
        _discard_output()
        return 141
    except OSError as error:
        from lkca.core.files import system_error

        if not error.filename:  # it may be standard output, which Python would write again at its end
            _discard_output()
        return _report(system_error(error))
    except LkcaError as error:
        return _report(error)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return _report(ConfigError("this command needs torch, which is not installed: install it."))


def _check_scene_files(scene: Path, split: Path | None) -> None:
    """Check the input of a job that has a scene; see `lkca.data.splits.check_scene_files`."""
    from lkca.data.splits import check_scene_files

    check_scene_files(scene, split)


def _report(error: LkcaError) -> int:
    """Print an error; return its exit code."""
    print(f"lkca: {printable(error, MAX_MESSAGE)}", file=sys.stderr)
    return error.exit_code


def _discard_output() -> None:
    """Discard what is written to standard output from now on, and what was written but has not left the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read_settings(path: Path, model: type[Settings]) -> Settings:
    """Read the settings of a job from a JSON file.

    Args:
        path: The file.
        model: The pydantic model of the settings.

    Raises:
        ConfigError: If the file does not fit the model.
        DataError: If it is missing or is not JSON.
    """
    from pydantic import ValidationError

    from lkca.config.messages import make_error
    from lkca.core.files import read_json

    values = read_json(path)
    try:
        return model.model_validate_json(
            json.dumps(values)
        )  # accepts lists for tuples, unlike model_validate in strict mode
    except ValidationError as error:
        raise ConfigError(f"{path}: {make_error(model, error, values)}") from None
