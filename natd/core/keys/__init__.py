"""Who a peer is, and what two peers have in common that nobody else has.

    a seed on disk ─► card.Identity ─► the signed and sealed card     what one tells of itself
    name, secret ───► secrets.network_key ─► the network's id         what all members share
    two cards ──────► secrets ─► the pair's psk, check keys, tags     what only the two share
    several prekeys ► secrets.Keyring                                 which secrets fit which tag
    the network's key ► membership_key                                signs registrations
    an ask ─────────► wave_words ─► the word for another wave         signed by who is there

    secrets, wave_words, membership_key ─► card

The bytes of a card and the formulas of the secrets stand at the head of their files.

Rules:
- Two cards are enough: a pair's secrets need no further packet.
- A card that does not open, or is not signed by the peer that it names, causes no packet.
- Only `card`, `membership_key` and `secrets` (and the session's TLS) touch cryptography.

Others import: card, membership_key, secrets, wave_words.
"""
