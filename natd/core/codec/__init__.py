"""Bytes and messages: what goes over the wire, packed and taken apart.  No state, no decisions.

    rendezvous_codec ─► fields ─► rendezvous      peer ↔ server
          bytes         pieces      messages      (fields: those of a card, too)
    stun                                          checks between peers, and any STUN client
    frames                                        what two peers say inside a session

The layouts stand at the head of each file.

Rules:
- A decoder raises DecodeError and nothing else, whatever bytes it is given.
- What has been decoded is within its limits: lengths are not checked again behind this door.
- Numbers of types and the order of fields are never reused; what a reader does not know, it skips.
- Signatures and keys belong elsewhere: see `natd.core.keys` and `natd.core.checks`.

Others import: fields, frames, rendezvous, rendezvous_codec, stun.
"""
