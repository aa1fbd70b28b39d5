"""What one wave of guesses may cost: packets in all, and packets a second; and a minute."""

MOST_WAVE_PACKETS = 1_920
"""Packets of one wave, and so the most NAT entries it makes: with checks and servers below 2,048
(conntrack tables of home routers hold 16,384 flows and more)."""

RATE = 450
"""Packets a second: with checks and servers below 500, which any access that people call a line
takes."""

MINUTE_S = 60.0
"""For which packets to a host that has not answered are counted."""
