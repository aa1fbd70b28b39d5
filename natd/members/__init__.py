"""Our networks and the peers in them: what the core tells, and what the disk must keep of it.

    request `join`, configuration ──► networks ──► Node.join, leave
                                          │
    Node's events ──► recorder ──► address book, mailbox, event log
                          ▲                          │
                          └──────── committed ◄──────┘

    parts     one of each part of a daemon, handed to all rooms that need several

`daemon/engine` calls `recorder` with every event of the node, and after every commit; requests
reach `networks` by `daemon/commands`.

Rules:
- What has to be on disk first waits for `committed`: nothing is acknowledged before.
- Leaving a network tells of every peer in it before its name is forgotten.

Others import: networks, parts, recorder.
"""
