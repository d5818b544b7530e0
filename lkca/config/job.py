"""A job of the workflow: its input and output files, and the settings and the code that determine its result."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from lkca.core.fingerprint import Code, step_code
from lkca.models.registry import class_path

ORDERED_MAPS = {"rows", "scenes"}  # keys of maps whose order shows in results; that of other maps is irrelevant

Paths = str | list[str] | None


@dataclass(frozen=True)
class Job:
    """A job of the workflow. Paths of its files are relative to the checkout.

    Args:
        step: A key of `lkca.core.fingerprint.STEPS`; also the name of the rule.
        name: The path of its record below results/{experiment}/records, without suffix.
        arguments: The arguments of its function that are not paths.
        inputs: The arguments of its function that are paths of files to read.
        outputs: The arguments of its function that are paths of files to write.
        other_inputs: Further files of the workflow or of the checkout that it reads.
        raw_files: Files from outside of the checkout that it reads: label -> path.
        archs: The architectures of the networks that it uses.
        settings: The settings that determine its result; None if these are its arguments.
    """

    step: str
    name: str
    inputs: dict[str, Paths]
    outputs: dict[str, str]
    arguments: dict[str, Any] = field(default_factory=dict)
    other_inputs: tuple[str, ...] = ()
    raw_files: dict[str, str] = field(default_factory=dict)
    archs: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None

    def workflow_files(self) -> list[str]:
        """Return the files of the workflow and of the checkout that it reads."""
        path_lists = [[paths] if isinstance(paths, str) else paths or [] for paths in self.inputs.values()]
        return [path for paths in path_lists for path in paths] + [*self.other_inputs]

    def reads(self) -> Mapping[str, str]:
        """Return all files that it reads: label -> path; the label of a file of the workflow is its path."""
        return self._reads

    @cached_property
    def _reads(self) -> Mapping[str, str]:
        """The files, made once, because the report reads those of every run."""
        return {path: path for path in self.workflow_files()} | self.raw_files

    def canonical_settings(self) -> dict[str, Any]:
        """Return the settings that determine its result, as JSON values.

        A map whose order matters becomes a list of pairs.
        """
        settings = self.arguments if self.settings is None else self.settings
        canonical: dict[str, Any] = json.loads(json.dumps(_canonical(settings)))
        return canonical

    def code(self) -> Code:
        """Return the code that determines its result."""
        return step_code(self.step, map(class_path, self.archs))


def _canonical(value: Any, key: str = "") -> Any:
    """Return a value with each model as a map, and each map whose order matters as a list of pairs."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        pairs = [[name, _canonical(item, name)] for name, item in value.items()]
        return pairs if key in ORDERED_MAPS else dict(pairs)
    return [_canonical(item) for item in value] if isinstance(value, list | tuple) else value
