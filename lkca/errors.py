"""The exceptions that a user reads, and the exit codes of `lkca`.

The message of each is one sentence: the file or the key, what is wrong, what to do.
"""


class LkcaError(ValueError):
    """An error that `lkca` prints without a traceback.

    Attributes:
        exit_code: Exit code of the command. 2: the same call fails again; 75: a later call may succeed (EX_TEMPFAIL of
            sysexits.h).
    """

    exit_code = 2


class ConfigError(LkcaError):
    """A setting, an option or an argument is wrong."""


class DataError(LkcaError):
    """A file is missing, damaged, or not what it should be."""


class StaleInput(LkcaError):
    """Files do not belong together: one was made from another version of the other."""


class Diverged(LkcaError):
    """A training produced NaN, infinite or absurd values."""


class ResourceError(LkcaError):
    """The machine or the network refuses: disk, memory, GPU, server. A later call may succeed."""

    exit_code = 75


class FileProblem(Exception):
    """A sentence on what is wrong with a file, without its name, for the caller to raise or to report.

    It is an exception, not a text, so that rewording it does not change the digest of the code (lkca.core.fingerprint).
    """
