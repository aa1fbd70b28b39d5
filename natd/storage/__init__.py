"""What outlives the daemon: one SQLite file, written in groups by one thread.

    mailbox ──► mailbox_writes ──┐       messages of every conversation
      │  └────► housekeeping ────┤       what is deleted by age
      ├───────► asked ───────────┤       the names that clients gave their messages
      ├───────► quota            ├──► store ──► database ──► schema    the file, its tables
    event_log ► event_pages ─────┤      ├────► reader                  reading, on its own thread
    address_book ────────────────┘      ├────► transaction             a group of writes
                                        └────► own_time                how long we have run
    conversation                         where the messages with one peer stand
    delivery                             how far one message has come
    history                              old messages, searched for
    identity                             the key, in a file of its own

Callers queue a change and get a future; `store` commits all that has gathered and then calls
back, so that a hundred messages cost one fsync.

Rules:
- A message is accepted, and a peer's acknowledged, only after its group is on disk.
- A full disk refuses new messages and loses none; it is tried again until it works.
- Once the daemon runs, the loop never waits for the disk, nor for reading it.
- How long something stays is counted in the daemon's own time, not by the clock.

Others import: address_book, asked, delivery, event_log, history, identity, mailbox, own_time,
quota, store.
"""
