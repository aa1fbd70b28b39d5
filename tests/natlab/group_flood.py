"""A neighbour who floods the multicast group, as root of his machine can: under any source.

group_flood.py KIND NETWORK RATE SECONDS OWN VICTIM

KIND is what RATE packets a second are, all but the last under sources all over OWN's /24:

    junk         random bytes
    unreadable   calls of the open network NETWORK, with a card that nobody can open
    strangers    good calls, by turns of 400 members whom nobody has met
    replay       one such call
    aimed        the same as strangers, as if VICTIM had sent them

Prints how many were sent.
"""

import random
import socket
import struct
import sys
import time

from natd.core.keys.card import Card, Identity, seal_card
from natd.core.keys.secrets import Prekey, network_key
from natd.core.network.greeting import Greeting, encode_greeting, network_tag

GROUP, PORT = "239.255.110.97", 28260
STRANGERS = 400
BATCH_S = 0.005


def main(kind: str, network: str, rate: int, seconds: float, own: str, victim: str) -> None:
    chance = random.Random(1)
    key = network_key(network, b"")
    calls = [call(key, chance) for _ in range(1 if kind == "replay" else STRANGERS)]
    lan = own.rpartition(".")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        print("ready", flush=True)
        sent, began = 0, time.monotonic()
        while (passed_s := time.monotonic() - began) < seconds:
            while sent < passed_s * rate:
                source = victim if kind == "aimed" else f"{lan}.{chance.randrange(50, 250)}"
                data = calls[sent % len(calls)]
                if kind == "junk":
                    data = chance.randbytes(chance.randrange(1, 1200))
                elif kind == "unreadable":
                    sealed = chance.randbytes(300)
                    data = encode_greeting(Greeting(network_tag(key), sealed, True))
                raw.sendto(packet(source, chance.randrange(20000, 60000), data), (GROUP, 0))
                sent += 1
            time.sleep(BATCH_S)
    print(sent, flush=True)


def call(key: bytes, chance: random.Random) -> bytes:
    """Of a member with an identity of its own."""
    identity, prekey = Identity(chance.randbytes(32)), Prekey(chance.randbytes(32))
    card = Card(identity.peer, identity.static_public, prekey.public, 1, "stranger")
    sealed = seal_card(card, identity, key)
    return encode_greeting(Greeting(network_tag(key), sealed, wants_answer=True))


def packet(source: str, port: int, data: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram; the kernel fills in the lengths and checksums of IP."""
    udp = struct.pack(">HHHH", port, PORT, 8 + len(data), 0)
    addresses = socket.inet_aton(source) + socket.inet_aton(GROUP)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 1, socket.IPPROTO_UDP, 0)
    return head + addresses + udp + data


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:7])
