"""What our own NAT does, learned from what servers and peers saw of us.

    observations ─► model ──┬─► mapping_class       same port towards everybody? (RFC 4787, 4.1)
                            ├─► port_watch ─┬─► port_history ─► port_allocation   which next?
                            │               └─► allocation_survey      more samples, if they help
                            ├─► filtering           whom it lets in (RFC 4787, 5)
                            └─► lifetime            how long it keeps a mapping
    public STUN servers ─► stun_client ─► model

`model` gives the NAT report that goes into our card, by which both sides of a pair know who has
to guess what before a packet is sent.

Rules:
- Everything is a probability with a confidence; only what was seen is claimed.
- A NAT may become another one at any time: newer observations outweigh older ones.

Others import: allocation_survey, filtering, lifetime, model, port_allocation, stun_client.
"""
