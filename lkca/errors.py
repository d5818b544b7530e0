"""The exceptions whose messages users read, and the exit codes of `lkca`.

A message is one sentence. It names the file or setting and says what is wrong with it and what to do.
"""


class LkcaError(ValueError):
    """An error that `lkca` prints without a traceback.

    Attributes:
        exit_code: Exit code of the command: 2 if the same call would fail again, 75 (EX_TEMPFAIL of sysexits.h) if a
            later call may succeed.
    """

    exit_code = 2


class ConfigError(LkcaError):
    """A setting, an option or an argument is wrong."""


class DataError(LkcaError):
    """A file is missing, damaged, or the wrong file."""


class StaleInput(LkcaError):
    """Files do not belong together, such as weights and a run.json that has changed since the training."""


class Diverged(LkcaError):
    """The training of a network diverged: its loss or validation error is NaN, infinite or far too large."""


class ResourceError(LkcaError):
    """A disk, memory, GPU, network, server or lock is not available; a later call may succeed."""

    exit_code = 75


class FileProblem(Exception):
    """What is wrong with a file, as a part of a sentence to which the caller adds the name of the file.

    It is an exception instead of a string because the digest of the code (lkca.core.fingerprint) ignores the messages
    of exceptions, so that they can be reworded.
    """
