"""One encrypted QUIC session with a peer, and its successor.

    sessions ─► session ──┬─► quic                   the one door to qh3: TLS 1.3 by the pair's psk
                          ├─► handshake_retransmit   an unfinished handshake, sent again
                          └─► quic_header            connection ids, read without a key
    events                                           what sessions tell their owner

Bytes and datagrams only: a session knows no address and no message.  `natd.core.chat` puts
frames into it, `natd.core.peer` carries its datagrams over whatever path there is.

Rules:
- The pair's key is the only way in, at both ends.
- A session is replaced only by one whose handshake is complete.
- What came before the handshake is complete may be a recording: it is handed on as such.

Others import: events, quic_header, session, sessions.
"""
