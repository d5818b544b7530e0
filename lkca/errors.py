"""The exceptions whose messages users read, and the exit codes of `lkca`.

A message is one sentence: the file or setting, what is wrong with it, what to do.
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
    """A file is missing, damaged, or not what it should be."""


class StaleInput(LkcaError):
    """Files do not belong together, such as weights and a run.json that has changed since."""


class Diverged(LkcaError):
    """The training of a network diverged: its loss or validation error is NaN, infinite or far too large."""


class ResourceError(LkcaError):
    """Disk, memory, GPU, network or server are not available; a later call may succeed."""

    exit_code = 75


class FileProblem(Exception):
    """A sentence on what is wrong with a file, without its name, for the caller to raise or to report.

    It is an exception, not a text, so that rewording it does not change the digest of the code (lkca.core.fingerprint).
    """
