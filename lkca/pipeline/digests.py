"""`python -m lkca.pipeline.digests` prints the digest of the code of each step, a line for each step and network."""

from lkca.core.fingerprint import STEPS, step_code
from lkca.models.registry import MODELS, class_path


def main() -> None:
    """Print the name of each step, the network where it uses one, and the digest of its code."""
    for step in STEPS:
        for arch in MODELS if step in ("train", "evaluate") else [None]:
            networks = [class_path(arch)] if arch else []
            print(step, *filter(None, [arch]), step_code(step, networks).digest)


if __name__ == "__main__":
    main()
