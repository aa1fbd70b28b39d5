"""Keeping the paths to one peer that were found.

    paths ──┬─► path               one path: quiet, probing, over
            └─► roaming            where else the peer was heard
    width                          whether the path in use carries a session's datagrams
    maintenance ──┬─► keepalive    how long the path in use may be silent
                  ├─► flows        what all peers and networks have in common, lessons too
                  ├─► mapping_age  whether our NAT ends mappings by age
                  └─► spare_flow   a second flow, to learn by or to move to
    requests_of_peer               what the peer's checks ask for
    events                         what all of them tell their owner

The reach of a peer (`natd.core.peer`) owns the three on the left and hands the events of each to
the others.  One path is in use, the best other one stands by.

Rules:
- A session knows no path: all of this may change beneath it.
- A path is added only by an answer to a check, and cleared of a doubt only by one.
- What costs packets is learned once and kept rare: an idle path sends a few a minute.

Others import: events, flows, maintenance, paths, requests_of_peer, width.
"""
