"""One network that we are a member of, and what all networks share of our own side.

    membership ──┬─► roster ─► places    the members: a card and a peer for each; who has a place
                 │      ├───────► standing       what speaks for each
                 │      └───────► older_cards    cards of the past, where nothing shows newer ones
                 ├─► own_card ───┬─► mapped       our card as it changes; where a mapped port is
                 │               └─► copies       others that use our identity
                 ├─► discovery ──┬─► greeting     a card sent directly to a peer
                 │               └─► multicast    members on the same link
                 └─► peer_introduction   a mutual peer introduces two others
    shared ──────┬─► routing             the table by which the node finds the owner of a datagram
                 └─► local_sockets       our sockets, and what waits to be sent

`natd.core.node` has a `Membership` for each network that was joined; it owns the peers
(`natd.core.peer`) and the servers (`natd.core.registration`).

Rules:
- A card counts if it opens, is signed by its peer, and is newer than the one we have.
- Only the peer that an input was for is drained: a large idle network costs nothing.

Others import: greeting, local_sockets, membership, multicast, roster, routing, shared, standing.
"""
