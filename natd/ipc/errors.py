"""What a client of the daemon may meet, each with one line for people and what to do about it."""


class IpcError(Exception):
    """A request to the daemon did not succeed.

    `text` says in one line what is wrong; `hint` what to do, or is None.
    """

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


class UnreachableError(IpcError):
    """No daemon listens there, it does not answer in time, or it went away.

    `is_in_doubt`: what was asked may have been carried out, or be carried out yet.
    """

    is_in_doubt = False


class DeniedError(IpcError):
    """The control socket is there and belongs to someone else."""


class RequestError(IpcError):
    """The daemon refused the request; `code` is a short word for programs."""

    def __init__(self, code: str, text: str, hint: str | None = None) -> None:
        super().__init__(text, hint)
        self.code = code
