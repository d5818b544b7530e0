"""The exceptions that a user is meant to read."""


class InputError(ValueError):
    """Bad input. The message is one sentence: the file or key, what is wrong, what to do."""


class WrongFile(Exception):
    """What is wrong with a file, for a sentence that names it: returned where the caller decides what becomes of it."""
