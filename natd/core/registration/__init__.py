"""Our side of the coordination servers: staying registered, and using their answers.

    servers ──┬─► registration ──┬─► transactions   which answer belongs to which question
              │                  ├─► places         which of its addresses is asked
              │                  ├─► lease          the way to a lease, and keeping it
              │                  ├─► member_sync    which members were introduced to us
              │                  └─► sampling       where else to ask how we are seen
              └─► filter_probing ─► filter_probes   trials: what does our NAT let in?
    events                                          what a registration tells its owner
    reasons                                         why a server is lost, for people

One `Registration` for each address that was given, and for each family of the addresses that a
name has, unaware of the others; `servers` merges what they say for `natd.core.network`, and feeds
what they saw of us to `natd.core.nat`.

Rules:
- What a server says about a peer is a hint; only the peer's card counts.
- Only an answer to a request of ours, from the address that we asked, is read.

Others import: events, reasons, servers.
"""
