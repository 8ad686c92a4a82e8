"""The one decorator for compiled loops."""

from collections.abc import Callable

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable | None = None, **options: object) -> Callable:
    """Compile a function for one thread, its machine code kept on disk where there is a place.

    Used bare or with options of `numba.njit`: ``@compiled`` or ``@compiled(inline="always")``.
    """
    if function is None:
        return lambda wrapped: compiled(wrapped, **options)
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no writable cache folder: compile afresh in every process
        return njit(**options)(function)
