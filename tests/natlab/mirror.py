"""Two plain programs for trying out a laboratory.

mirror.py serve PORT                  answers each datagram with the address it came from
mirror.py ask HOST PORT FROM COUNT    asks, and prints `seen-host seen-port rtt-ms` a line;
                                      `- - -` when nothing came within a second
"""

import socket
import sys
import time


def serve(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("0.0.0.0", port))
        print("ready", flush=True)
        while True:
            _, address = udp.recvfrom(2048)
            udp.sendto(f"{address[0]} {address[1]}".encode(), address)


def ask(host: str, port: int, from_port: int, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("0.0.0.0", from_port))
        udp.settimeout(1.0)
        for _ in range(count):
            started_at = time.monotonic()
            udp.sendto(b"?" * 100, (host, port))
            try:
                answer = udp.recv(2048).decode()
                print(answer, round(1000 * (time.monotonic() - started_at), 3), flush=True)
            except TimeoutError:
                print("- - -", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(sys.argv[2], *map(int, sys.argv[3:6]))
