"""Guessing ports, where a NAT gives each destination a different port and plain checks fail.

    escalation ──┬─► strategy ──┬─► birthday    many sockets against many ports
                 │              ├─► sequences   NATs that count their ports up
                 │              └─► blocks      NATs that draw from a block of ports
                 ├─► samples                    whether two sequences are worth a guess now
                 ├─► anchors                    ports of ours that we know and tell the peer
                 └─► paced_sender               one wave, packet by packet
    all of them ─► plan                         what a wave sends, and what it may cost

`strategy` has the table of all pairs of NATs: which side probes, which opens, what is hopeless.
`natd.core.punch` begins an escalation when checks have failed or are bound to fail.

Rules:
- Each side makes its own half of the plan from the two NAT reports alone.
- Nothing is sent without a turn (`natd.core.checks.turns`): one expensive attempt at a time.
- Nothing is guessed at a host where the peer has not proved to be.

Others import: anchors, escalation, samples, sequences, strategy.
"""
