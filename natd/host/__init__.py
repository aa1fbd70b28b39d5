"""This machine, as far as a daemon must know it: directories, log, service manager, errors.

    descriptors   how many files may be open
    directories   where state, socket and configuration are; locks that keep a second daemon out
    hardening     what a daemon gives up at its start: core dumps, new privileges
    errors        what a user can get to read, and the exit code of each
    journal       log lines: with a time for people, with a priority for journald
    notify        READY, STATUS, WATCHDOG to the service manager (sd_notify(3))
    version       which release this is

The lowest wing of the daemon's shell: it imports nothing of natd but what `natd.ipc` shares with
programs of others, `places` and `terminal_text`.

Rules:
- A directory that somebody else could write to is refused, with what to do about it.
- An error carries its text and its hint; it is shown once, where the process ends.

Others import: descriptors, directories, errors, hardening, journal, notify, version.
"""
