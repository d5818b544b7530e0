"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad input. The message is one sentence: the file or key, what is wrong, what to do."""
