"""Our networks and their peers: handles the events of the core and stores what must be kept.

    request `join`, configuration ──► networks ──► Node.join, leave
                                          │
    Node's events ──► recorder ──► address book, mailbox, event log
                          ▲                          │
                          └──────── committed ◄──────┘

    crowd        how many peers stay on disk
    guesses      which hosts ports were guessed at
    named        networks, peers and servers by name
    copy_words   sentences about a restored disk, and an identity that is used twice
    upkeep       from time to time: history, the clock, the disk
    parts        one of each part of a daemon, for modules that need several of them

`daemon/engine` calls `recorder` with every event of the node, and after every commit; requests
reach `networks` by `daemon/commands`.

Rules:
- What has to be on disk first waits for `committed`: nothing is acknowledged before.
- Leaving a network tells of every peer in it before its name is forgotten.

Others import: copy_words, crowd, guesses, networks, parts, recorder, upkeep.
"""
