"""What people and programs see of the daemon: the chat, and the pipe.

Everything here speaks to the daemon through `natd.ipc` alone.  Reading order: `safe`, `roster`,
`chatview`, `scrollback`, `chatinput` and `statusbar` are pure; `sending` and `chatroom` follow
the daemon; `chat`, `plainchat` and `pipe` are what is started, by way of `entry`; `stdin_lines`
and `leaving` are how they read and end.
"""
