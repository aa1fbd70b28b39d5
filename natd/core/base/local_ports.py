"""The local ports that our sockets ask for, and what each range is for.

    20000-59999   AGREED          known to both sides of a pair from its keys; spare flows
          28260   LINK_PORT       hears members who call out on our link
    60000-60999   FRESH_ALIKE     a round's fresh socket, of the main socket's parity
    61000-64599   SURVEYS         how a hard NAT gives out ports
    64600-64999   FILTER_TRIALS   what a NAT lets in
    65000-65535   GUESSES_ALIKE   the sockets of a guess, of the main socket's parity

All other sockets take any port that the system gives them.

Rules:
- No port stands for two things: a flow of one would let in, or spoil, what the other is to see.
- Every range begins where the one before it ends.  `LINK_PORT` alone lies inside another: members
  on a link call each other there, and what a pair agrees on goes round it (`checks.agreed_port`).
"""

AGREED = range(20_000, 60_000)
"""Above the ports of services, below the end, where port-preserving NATs have few users."""

FRESH_ALIKE = range(AGREED.stop, 61_000)
"""Each round of an attempt takes one: a NAT has forgotten it when it is its turn again."""

SURVEYS = range(FRESH_ALIKE.stop, 64_600)
"""Above Linux's ephemeral ports, so that no other program is there."""

FILTER_TRIALS = range(SURVEYS.stop, 65_000)

GUESSES_ALIKE = range(FILTER_TRIALS.stop, 65_536)

LINK_PORT = 28_260
"""Registered for nothing, and below the ports that Linux gives to those who ask for any."""
