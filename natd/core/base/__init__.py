"""Types and helpers that all cores share.

Nothing here knows the protocol.  A class belongs here if two wings share it and neither owns it.

    types          addresses, ids, candidates, NAT reports, datagrams, paths as values
    events         what a node reports: one class for each fact
    scope          whether an address means the same everywhere, or in one network only
    verdict        why there is no path, and what would help, with codes for programs
    routes         the keys by which a datagram finds its peer or its registration
    wishes         what an attempt asks of others: a sample, an introduction, a socket
    surroundings   what an attempt must know of our own side: our NAT, our sockets
    local_ports    which of our local ports stands for what; ranges never overlap
    timers         the earliest of several timers, jitter, growing waits, allowances, Unix time

    events, surroundings ─► verdict ─► types ◄─ wishes          the rest stand alone

Others import: events, local_ports, routes, scope, surroundings, timers, types, verdict, wishes.
"""
