"""The coordination server: it introduces peers, and relays nothing.

    datagram ─► coordinator ──┬─► admission      a token that proves an address, two signatures
                              ├─► freshness      is it of this moment, or a replay?
                              ├─► allowances     what each may ask in a second
                              ├─► registry       who is registered where: its only lasting state
                              ├─► introduction   who dials, when both begin; the byte budget
                              └─► stateless ─► stun_server    any STUN client (RFC 8489, RFC 5780)

    introduction, freshness, allowances ─► registry ─► shares     who may have how much of it

Run by `natd --server`, through `natd/server.py`.  No peer imports it: the two sides share the
messages in `natd.core.codec` and nothing else.

Rules:
- Nothing is remembered of an address before it is proved.
- Never more bytes out than in towards an unproved address; at most three times in total.
- A full table refuses new entries; no live one is removed to make room.
- It opens no card: it has no key to them.

Others import: coordinator.
"""
