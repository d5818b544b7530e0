"""`lkca export`: a trained network as files to share."""

import dataclasses
from pathlib import Path

from pydantic import ValidationError

from lkca.core.files import atomic_write, system_error
from lkca.core.result_files import describe_first
from lkca.errors import ConfigError, DataError, FileProblem
from lkca.inference.model_file import LoadedModel, is_shared_model, load_model, read_scores_of, write_model
from lkca.inference.onnx_export import Deviation, export_onnx, missing_packages
from lkca.inference.shared_model import SharedModel
from lkca.report.model_card import make_model_card

MODEL, CARD, GRAPH = "model.safetensors", "README.md", "model.onnx"
PARTS = (".model.part.safetensors", ".README.part.md", ".model.part.onnx")  # that a killed export leaves


def export(run: Path, folder: Path, licence: str | None = None) -> None:
    """Write a trained network as .safetensors, with a model card and, if possible, as ONNX.

    Args:
        run: The folder of the run.
        folder: The folder to write, new or with an earlier export.
        licence: Licence of the weights; None to state none.

    Raises:
        ConfigError: If the folder has other files or the licence is too long.
        DataError, StaleInput, ResourceError: If a file of the run is wrong, or one cannot be written.
    """
    if not run.is_dir():
        raise DataError(f"{run} is not a folder: name the folder of a run, which has run.json and weights.safetensors.")
    model = load_model(run)
    scores = read_scores_of(run) or {"versions": {}, "commit": None}
    added = {"licence": licence or None, "versions": scores["versions"], "commit": scores["commit"]}
    try:
        facts = SharedModel.model_validate(model.facts.model_dump() | added)
    except ValidationError as error:
        raise ConfigError(f"{run} cannot be exported ({describe_first(error)}): shorten this text.") from None
    model = dataclasses.replace(model, facts=facts)
    make_model_card(run, model, [])  # fails now rather than after a part of the files
    try:
        _check_folder(folder)
        for name in (CARD, GRAPH):  # those of an earlier export; the card is written last and completes this one
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise system_error(error) from error
    write_model(model, folder / MODEL)
    shared = load_model(folder / MODEL)
    deviations, message = _export_graph(shared, folder / GRAPH)
    card = make_model_card(run, shared, deviations)
    with atomic_write(folder / CARD) as part:
        part.write_text(card, encoding="utf-8")
    print(f"{folder / MODEL} and {folder / CARD} were written. {message}")


def _export_graph(model: LoadedModel, path: Path) -> tuple[list[Deviation], str]:
    """Write the ONNX graph of a network if possible; return its deviations and a sentence about it."""
    if missing := missing_packages():
        return [], f"{path} was not written, because it needs {' and '.join(missing)}: install the extra onnx of lkca."
    try:
        deviations = export_onnx(model.network, model.facts.bands, path, model.facts.metadata())
    except FileProblem as problem:
        return [], f"{path} was not written: {problem}."
    worst = max(each.onnx for each in deviations)
    return deviations, f"{path} was written; it differs from torch by at most {worst:.1e} of the largest value."


def _check_folder(folder: Path) -> None:
    """Check that a folder is new, empty, or has nothing but an earlier export.

    Raises:
        ConfigError: If it has other files.
        DataError: If it is a file.
        OSError: If it cannot be read.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: choose a new folder.")
    names = {path.name for path in folder.iterdir()}
    ours = names & {MODEL, CARD, GRAPH}
    others = sorted(names - ours - {*PARTS})
    if ours and not (MODEL in ours and is_shared_model(folder / MODEL)):
        others += sorted(ours)  # of another program, whose files often have these names
    if others:
        raise ConfigError(
            f"{folder} has files that lkca export did not write, such as {others[0]}: choose a new folder."
        )
