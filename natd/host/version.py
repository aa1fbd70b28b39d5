"""Which release this is, as the package's metadata says."""

import functools


@functools.cache
def natd_version() -> str:
    """Like `0.3.0`; `unknown` where natd runs from a source tree that is not installed.

    Read once: later it may be that no file can be opened.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("natd")
    except PackageNotFoundError:
        return "unknown"
