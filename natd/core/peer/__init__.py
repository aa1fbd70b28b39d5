"""One remote peer in one network: the owner of everything that concerns it alone.

    peer ──┬─► reach ──┬─► natd.core.punch     finds paths
           │           └─► natd.core.paths     keeps them
           ├─► natd.core.chat                  what is said, over sessions
           ├─► presence                        online or offline, as reported
           └─► diagnosis ─┬─► attempt_log      what was tried
                          └─► judgement        why there is no path: the verdict
    events, reach_events                       events of the peer, and of its reach

`natd.core.network` has a `Peer` for each member.  `reach` decides where datagrams go; `chat`
knows no address, and `reach` knows no message.

Rules:
- A peer is online when its session is established and a path carries it.
- `diagnosis` watches and never acts: nothing that is sent depends on it.

Others import: attempt_log, diagnosis, events, peer, presence.
"""
