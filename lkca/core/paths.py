"""The paths of all files of an experiment below results/{experiment}, and of the caches of the workflow.

A path is a string with forward slashes, relative to the checkout, as Snakemake and the records use it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

RESULTS = "results"
HASH_CACHE = Path(RESULTS, ".hashes.json")
WORKFLOW_CACHE = Path(".snakemake/lkca")
CODE_CACHE = WORKFLOW_CACHE / "code.json"
BANDS_CACHE = WORKFLOW_CACHE / "bands.json"
FAILURES = WORKFLOW_CACHE / "failures"

# Files in the folder of a run.
RUN_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
HISTORY_FILE = "history.csv"
SCORES_FILE = "scores.json"
IMAGE_FILE = "image.npz"
SPECTRUM_FILE = "spectrum.json"
STATE_PATTERN = "state-*.safetensors"

# Folders and files of an experiment; RUN_FOLDERS is a glob pattern.
RUN_FOLDERS = "runs/*/*/*"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"


def state_name(digest: str) -> str:
    """Return the name of the checkpoint file of a training, given the digest of all that the training depends on."""
    return f"state-{digest[:12]}.safetensors"


class RunGroup(NamedTuple):
    """The runs of one model on one scene at one scale; they differ in their seeds."""

    scene: str
    scale: int
    model: str

    def with_seed(self, seed: int) -> "RunKey":
        """Return the run of this group that has this seed."""
        return RunKey(*self, seed)


class RunKey(NamedTuple):
    """The scene, scale, model and seed that identify a run of an experiment."""

    scene: str
    scale: int
    model: str
    seed: int

    @property
    def group(self) -> RunGroup:
        """The group of this run and of those that differ from it only in the seed."""
        return RunGroup(self.scene, self.scale, self.model)

    @property
    def folder(self) -> str:
        """The folder of the run below results/{experiment}."""
        return f"runs/{self.scene}_x{self.scale}/{self.model}/seed{self.seed}"

    @property
    def label(self) -> str:
        """The description of the run for logs, such as "chikusei x4 vdsr seed 0"."""
        return f"{self.scene} x{self.scale} {self.model} seed {self.seed}"


@dataclass(frozen=True)
class ExperimentPaths:
    """The paths of an experiment.

    Args:
        root: The folder of the experiment, such as results/paper; empty for paths relative to it.
    """

    root: str = ""

    @classmethod
    def of(cls, experiment: str) -> "ExperimentPaths":
        """Return the paths of the experiment with this name."""
        return cls(f"{RESULTS}/{experiment}")

    def path(self, name: str) -> str:
        """Return the path of a file, given its path relative to the experiment."""
        return f"{self.root}/{name}" if self.root else name

    def relative(self, path: str) -> str:
        """Return the path of a file relative to the experiment: the inverse of `path`."""
        return path.removeprefix(f"{self.root}/")

    def receipt(self, scene: str) -> str:
        """Return the path of the list of a scene's downloaded files."""
        return self.path(f"scenes/{scene}.files.json")

    def scene(self, scene: str) -> str:
        """Return the path of a scene's array."""
        return self.path(f"scenes/{scene}.npy")

    def manifest(self, scene: str) -> str:
        """Return the path of the description of a scene's array."""
        return self.path(f"scenes/{scene}.json")

    def split(self, scene: str, scale: int) -> str:
        """Return the path of a scene's split at a scale."""
        return self.path(f"splits/{scene}_x{scale}.json")

    def run_file(self, run: RunKey, name: str) -> str:
        """Return the path of a file in the folder of a run."""
        return self.path(f"{run.folder}/{name}")

    def efficiency(self, scene: str, scale: int) -> str:
        """Return the path of the measured time and memory of the networks on a scene at a scale."""
        return self.path(f"efficiency/{scene}_x{scale}.json")

    def table(self, name: str, suffix: str) -> str:
        """Return the path of a file of a table; the suffix has no leading dot."""
        return self.path(f"tables/{name}.{suffix}")

    def figure(self, name: str, suffix: str) -> str:
        """Return the path of a file of a figure; the suffix has no leading dot."""
        return self.path(f"figures/{name}.{suffix}")

    def bicubic_check(self, scene: str, suffix: str) -> str:
        """Return the path of a file of the check of a scene's bicubic rows; the suffix has no leading dot."""
        return self.path(f"bicubic_check/{scene}.{suffix}")

    def claims(self, suffix: str) -> str:
        """Return the path of the checked claims; the suffix has no leading dot."""
        return self.path(f"claims.{suffix}")

    def report(self) -> str:
        """Return the path of the list of all files that the report shows, with their hashes."""
        return self.path(REPORT_FILE)

    def page(self) -> str:
        """Return the path of the report's page."""
        return self.path(PAGE_FILE)

    def records(self) -> str:
        """Return the folder of the records of jobs."""
        return self.path("records")

    def record(self, job: str) -> str:
        """Return the path of a job's record."""
        return self.path(f"records/{job}.json")
