"""What outlives the daemon: one SQLite file, written in groups by one thread.

    mailbox ──► mailbox_writes ──┐       messages of every conversation
    event_log ───────────────────┼──► store ──► schema      the file, its thread, its tables
    address_book ────────────────┘       networks and peers that we know
    history                              old messages, searched for
    identity                             the key, in a file of its own

Callers queue a change and get a future; `store` commits all that has gathered and then calls
back, so that a hundred messages cost one fsync.

Rules:
- A message is accepted, and a peer's acknowledged, only after its group is on disk.
- A full disk refuses new messages and loses none; it is tried again until it works.

Others import: address_book, event_log, history, identity, mailbox, mailbox_writes, store.
"""
