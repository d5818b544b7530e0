"""The commands. Each option is a parameter of the function that the command calls."""

import argparse
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar, get_type_hints

from lkca.errors import ConfigError, LkcaError

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T", bound="BaseModel")


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence like all others."""

    def error(self, message: str) -> NoReturn:
        print(f"lkca: {message}: {self.prog} --help tells what is possible.", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(prog="lkca", description="Hyperspectral super-resolution, reproduced.", allow_abbrev=False)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(function: str, text: str, name: str | None = None) -> argparse.ArgumentParser:
        name = name or function.rpartition(":")[2]
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        sub.set_defaults(function=function)
        return sub

    c = command("lkca.commands.arrays:score", "print the six scores of one array against another")
    c.add_argument(
        "--reference", type=Path, required=True, help="ground truth, .npy, float (bands, rows, columns), peak 1"
    )
    c.add_argument("--estimate", type=Path, required=True, help="reconstruction, .npy, of the same shape")
    c.add_argument("--scale", type=int, required=True, help="upsampling factor (for ERGAS)")

    c = command("lkca.commands.arrays:resize", "resize an array as MATLAB's imresize does (bicubic, antialiased)")
    c.add_argument("--input", type=Path, required=True, help=".npy, float (bands, rows, columns)")
    c.add_argument("--factor", type=float, required=True, help="above 1 enlarges, below 1 shrinks")
    c.add_argument("--output", type=Path, required=True, help=".npy to write")

    c = command("lkca.commands.cost:cost", "print parameters and multiply-accumulates of the models as CSV")
    c.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="config.yaml and overlays")
    c.add_argument("--model", help="one key of its models")
    c.add_argument("--bands", type=int, help="instead of each scene's")
    c.add_argument("--scale", type=int, help="instead of each that has patches")

    c = command("lkca.pipeline.plan:plan", "tell what runs, how far it is, and what the rest will cost")
    c.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="config.yaml and overlays")

    c = command("lkca.commands.fetch:fetch", "download the files of a scene, or check those that are there")
    c.add_argument("scene", metavar="SCENE", help="chikusei, houston2018, pavia_centre, or your own in config.yaml")
    c.add_argument("--accept-terms", action="store_true", help="confirm the terms of its owner, once")
    c.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="config.yaml and overlays")

    c = command("lkca.commands.fetch:verify", "tell whether a file is the right one for a scene")
    c.add_argument("scene", metavar="SCENE", help="chikusei, houston2018, pavia_centre, or your own in config.yaml")
    c.add_argument("file", metavar="FILE", type=Path, nargs="?", help="where it does not lie in its place")
    c.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="config.yaml and overlays")

    c = command("lkca.data.scenes:scene", "cut a scene from its cube and divide it by its maximum")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--out", type=Path, required=True)
    c.add_argument("--manifest", type=Path, required=True)

    c = command("lkca.data.splits:split", "divide a scene into test images, training and validation patches")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--manifest", type=Path, required=True)
    c.add_argument("--out", type=Path, required=True)

    c = command("lkca.config.run:write_run", "write the run.json of a run", "settings")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--seed", type=int, required=True)
    c.add_argument("--scene", type=Path, required=True)
    c.add_argument("--split", type=Path, required=True)
    c.add_argument("--teacher", type=Path, nargs="?")  # no file: no teacher
    c.add_argument("--out", type=Path, required=True)

    c = command("lkca.training.train:train", "train one network")
    c.add_argument("--run", type=Path, required=True)
    c.add_argument("--scene", type=Path, required=True)
    c.add_argument("--split", type=Path, required=True)
    c.add_argument("--teacher", type=Path, nargs="?")
    c.add_argument("--out", type=Path, required=True)
    c.add_argument("--history", type=Path, required=True)
    c.add_argument("--gpus", type=int, default=1, help="GPUs; several share each batch")
    c.add_argument("--adopted", nargs="*", default=[], help="digests of other code whose training goes on")

    c = command("lkca.scoring.evaluate:evaluate", "score a run on its test images")
    c.add_argument("--run", type=Path, required=True)
    c.add_argument("--scene", type=Path, required=True)
    c.add_argument("--split", type=Path, required=True)
    c.add_argument("--weights", type=Path, nargs="?")  # no file: a method without training
    c.add_argument("--history", type=Path, nargs="?")
    c.add_argument("--image", type=int, required=True)
    c.add_argument("--composite", type=int, nargs=3, required=True)
    c.add_argument("--out", type=Path, required=True)
    c.add_argument("--picture", type=Path, required=True)

    c = command("lkca.scoring.singular_values:spectrum", "write the singular values of an upsampling layer")
    c.add_argument("--run", type=Path, required=True)
    c.add_argument("--weights", type=Path, required=True)
    c.add_argument("--out", type=Path, required=True)

    c = command("lkca.scoring.benchmark:efficiency", "measure time, memory and energy of networks")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--out", type=Path, required=True)

    c = command("lkca.report.tables:table", "make a table")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--scores", type=Path, nargs="*", required=True)
    c.add_argument("--printed", type=Path, required=True)
    c.add_argument("--csv", type=Path, required=True)
    c.add_argument("--markdown", type=Path, required=True)
    c.add_argument("--latex", type=Path, required=True)
    c.add_argument("--html", type=Path, required=True)
    c.add_argument("--verdicts", type=Path, required=True)
    c.add_argument("--comparisons", type=Path, required=True)

    c = command("lkca.paper.bicubic_check:bicubic_check", "compare the bicubic rows with the paper's")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--scores", type=Path, nargs="*", required=True)
    c.add_argument("--manifests", type=Path, nargs="*", required=True)
    c.add_argument("--printed", type=Path, required=True)
    c.add_argument("--out", type=Path, required=True)
    c.add_argument("--markdown", type=Path, required=True)

    c = command("lkca.report.figures:figure", "draw a figure")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--scores", type=Path, nargs="*", required=True)
    c.add_argument("--spectra", type=Path, nargs="*", required=True)
    c.add_argument("--images", type=Path, nargs="*", required=True)
    c.add_argument("--histories", type=Path, nargs="*", required=True)
    c.add_argument("--efficiency", type=Path, nargs="*", required=True)
    c.add_argument("--png", type=Path, required=True)
    c.add_argument("--pdf", type=Path, required=True)

    c = command("lkca.paper.claims:claims", "check what the paper claims, on its tables and on our results")
    c.add_argument("--settings", type=Path, required=True)
    c.add_argument("--scores", type=Path, nargs="*", required=True)
    c.add_argument("--spectra", type=Path, nargs="*", required=True)
    c.add_argument("--printed", type=Path, required=True)
    c.add_argument("--claims", type=Path, required=True)
    c.add_argument("--out", type=Path, required=True)
    c.add_argument("--csv", type=Path, required=True)

    c = command("lkca.paper.score_tables:score_tables", "check a table of scores, yours or a paper's", "score-tables")
    c.add_argument("file", metavar="FILE.csv", type=Path, help="in the columns of lkca/paper/paper_tables.csv")

    c = command("lkca.report.page:report", "make the report")
    c.add_argument("--settings", type=Path, required=True)
    for option in ("--scenes", "--splits", "--runs", "--tables", "--figures", "--spectra", "--efficiency"):
        c.add_argument(option, type=Path, nargs="*", required=True)
    for option in ("--claims", "--printed", "--out", "--provenance"):
        c.add_argument(option, type=Path, required=True)

    c = command("lkca.pipeline.records:step", "run one job of the workflow and write down what it was made from")
    c.add_argument("name", metavar="JOB", help="as lkca plan names it")
    c.add_argument("--experiment", type=Path, required=True, help="the checked configuration, from the Snakefile")
    c.add_argument("--outputs", type=Path, nargs="+", required=True, help="in the order of the rule")
    c.add_argument("--gpus", type=int, default=1, help="GPUs, for a training")

    c = command(
        "lkca.pipeline.records:adopt", "declare that a change of code does not change the numbers of finished jobs"
    )
    c.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="config.yaml and overlays")
    c.add_argument("--because", required=True, help="why the numbers stay the same; the results keep it")
    c.add_argument("jobs", metavar="JOB", nargs="*", help="as lkca plan names it, or its folder; else all")

    c = command(
        "lkca.pipeline.provenance:check", "hash again what a report stands on, and tell what does not belong together"
    )
    c.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", default=Path("results"), help="or one experiment's"
    )
    return top


def main(words: list[str] | None = None) -> int:
    """Run a command; `words` are its arguments, the process's own by default. Returns the exit code.

    A command returns its own, or nothing for 0.
    """
    options = vars(parser().parse_args(words))
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
    except BrokenPipeError:  # whoever reads has read enough: lkca ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _read_settings(path: Path, kind: type[T]) -> T:
    """Read the settings of a command from a JSON file.

    Args:
        path: The file.
        kind: The pydantic model of the settings.

    Raises:
        ConfigError: If the file does not fit the model.
        LkcaError: If it is missing or no JSON file.
    """
    from pydantic import ValidationError

    from lkca.config.messages import format_error
    from lkca.core.files import read_json

    text = json.dumps(read_json(path))
    if kind is str:  # a function that does not take its class yet
        return text
    try:
        return kind.model_validate_json(text)  # in JSON, lists stand for tuples
    except ValidationError as error:
        raise ConfigError(format_error(kind, error.errors()[0], str(path))) from None
