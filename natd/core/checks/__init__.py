"""Checks between two peers, which addresses are worth one, and what all of them may cost.

    checks        makes and answers authenticated STUN Bindings (RFC 8445, section 7)
    candidates    which addresses of a card may be checked, in what order
    budget        packets to an address that has not answered, to its network, to all
    turns ─┬─► pace     packets a second, guesses and checks together
           ├─► limits   what one wave of guesses may cost
           ├─► strangers   how many waves may go to a host that has never answered
           └─► answered_hosts   how long one that has answered is searched when it is silent
    unproved_hosts   what goes to a host that a newcomer has not proved yet
    meetings      how many peers are met at once, and whether this machine keeps up
    host_proofs   at which hosts a peer surely is, so that guesses may go there
    budget ─► turns, unproved_hosts

`punch` sends checks to find a path, `paths` to keep it, `prediction` to guess a port.  All of
them ask the budget first: a card is a claim, and could name anybody's address.

Rules:
- A check without valid integrity gets no answer.
- One budget and one set of turns for the whole daemon, over all networks and peers.

Others import: budget, candidates, checks, host_proofs, limits, meetings, strangers, turns.
"""
