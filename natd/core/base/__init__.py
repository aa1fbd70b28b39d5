"""The words that every core speaks, and the few things that all of them need.

Nothing here knows the protocol.  A class that two wings must share, and that neither of them
owns, has its place here; a class that one wing owns stays there.

    types          addresses, ids, candidates, NAT reports, datagrams, paths as values
    events         what a node tells the world: one class for each fact
    verdict        why there is no path, and what would help, with codes for programs
    routes         the keys by which a datagram finds its peer or its registration
    wishes         what an attempt asks of others: a sample, an introduction, a socket
    surroundings   what an attempt must know of our own side: our NAT, our sockets
    local_ports    which of our local ports stands for what; ranges never overlap
    timers         the earliest of several timers, jitter, growing waits, allowances

    events ─► verdict ─► types ◄─ surroundings, wishes          the rest stand alone

Others import: events, local_ports, routes, surroundings, timers, types, verdict, wishes.
"""
