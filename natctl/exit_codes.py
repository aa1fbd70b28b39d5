"""How natctl ends: the numbers that scripts rely on.

0 ok    1 failed and the user can fix it    2 usage    3 daemon not reachable
4 identity untrusted or changed    5 not delivered, no path in time
6 permission denied    130 interrupted
"""

from natd.ipc.errors import DeniedError, IpcError, RequestError, UnreachableError

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
IDENTITY = 4
NOT_IN_TIME = 5
DENIED = 6
INTERRUPTED = 130

OF_ERROR_CODES = {
    "usage": USAGE,
    "identity_changed": IDENTITY,
    "not_delivered": NOT_IN_TIME,
    "no_path": NOT_IN_TIME,
    "timeout": NOT_IN_TIME,
    "permission": DENIED,
}
"""For an error code in the daemon's reply; every other one is FAILED."""


def exit_code_of(error: IpcError) -> int:
    if isinstance(error, UnreachableError):
        return UNREACHABLE
    if isinstance(error, DeniedError):
        return DENIED
    if isinstance(error, RequestError):
        return OF_ERROR_CODES.get(error.code, FAILED)
    return FAILED


def error_code_of(error: IpcError) -> str:
    """The short word for programs."""
    if isinstance(error, RequestError):
        return error.code
    return "permission" if isinstance(error, DeniedError) else "unreachable"
