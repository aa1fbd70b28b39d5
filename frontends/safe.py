"""The one door between text that came from a peer or a server and a terminal, for our programs.

    safe(text)         one harmless line that shows all that is in it
    safe_lines(text)   the same for a text of several lines

The rules are at the head of `natd/ipc/terminal_text.py`, which is public: programs of others print
the same texts.
"""

from natd.ipc.terminal_text import printable as safe
from natd.ipc.terminal_text import printable_lines as safe_lines

__all__ = ["safe", "safe_lines"]
