"""Errors that a reader can act on: one line saying what, where, expected, remedy."""

__all__ = ["DataError", "InputError"]


class InputError(ValueError):
    """An argument, parameter or setting that cannot be used as given."""


class DataError(InputError):
    """A data file that is missing, changed or malformed."""
