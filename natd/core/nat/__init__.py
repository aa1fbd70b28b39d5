"""What our own NAT does, learned from the addresses at which servers and peers see us.

    observations ─► model ──┬─► mapping_class       same port towards everybody? (RFC 4787, 4.1)
                            ├─► port_watch ─┬─► port_history ─► port_allocation   which next?
                            │               └─► allocation_survey      more samples, if they help
                            ├─► sightings           at which addresses we are seen, by whom
                            ├─► filtering           what it lets in (RFC 4787, 5)
                            ├─► lifetime            how long it keeps a mapping
                            └─► answers             who has answered in the last minute
    public STUN servers ─► stun_client ─► model

`model` gives the NAT report for our card.  From both reports each side of a pair knows which side
has to guess which port, before a packet is sent.

Rules:
- Every result has a confidence; nothing is claimed that was not observed.
- A NAT may be replaced at any time: newer observations outweigh older ones.

Others import: allocation_survey, filtering, lifetime, model, port_allocation, stun_client.
"""
