"""Finding a path to one peer.

    search ──┬─► remote_candidates                         where the peer may be, and who says so
             ├─► punch ──┬─► attempt                       rounds: when to check, wait, try again
             │           └─► targets ─► derived_ports      what is checked, from which socket
             ├─► words_of_pair                             the other side's leave to guess more
             ├─► first_flight                              what a session sends with no path yet
             └─► natd.core.prediction                      guesses, when checks have failed
    events                                                 what all of it tells its owner

`search` is what `natd.core.peer` sees.  Both sides are introduced at the same instant and send
checks to every address the other may have, on a ladder that is dense at first.  The first
authenticated answer is a `PathFound`, and from there `natd.core.paths` owns the path.

Rules:
- A path comes from an answer to a check of ours, never from a datagram that merely arrived.
- While a path stands, nothing is guessed but the successor of a mapping that will end.

Others import: events, first_flight, remote_candidates, search, words_of_pair.
"""
