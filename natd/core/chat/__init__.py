"""What is said with one peer: each message exactly once and in order, over any number of sessions.

    dialogue ──┬─► conversation ──┬─► outbox   what waits on our disk, not acknowledged yet
               │                  └─► inbox    what came: new? in order? on disk?
               └─► natd.core.session           one session after the other

A line out: `dialogue` ─► `conversation` ─► `outbox` ─► a frame ─► the session.  A line in goes
the other way, to `inbox`; the store commits it, and only then is it acknowledged.

Rules:
- The core says *commit this, then tell me*: nothing is acknowledged that is not on disk.
- A new session begins with everything that the peer has not acknowledged, under an epoch of its
  own: numbers of another session, or of another copy of a disk, count for nothing.
- Memory holds a window onto the outbox, however long that is on disk.

Others import: dialogue.
"""
