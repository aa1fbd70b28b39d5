"""A UPnP router that lies, and somebody who notes who comes to him.

lying_router.py router GATEWAY elsewhere HOST PORT   its description leads to HOST:PORT
lying_router.py router GATEWAY endless               its description never ends
lying_router.py note PORT                            prints a line for each connection
"""

import contextlib
import socket
import sys
import threading

HTTP_PORT = 5000
GATEWAY_TYPE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"


def router(gateway: str, lie: str, *elsewhere: str) -> None:
    ears = socket.create_server((gateway, HTTP_PORT))
    threading.Thread(target=describe, args=(ears, lie, ":".join(elsewhere)), daemon=True).start()
    found = (
        f"HTTP/1.1 200 OK\r\nST: {GATEWAY_TYPE}\r\n"
        f"LOCATION: http://{gateway}:{HTTP_PORT}/root.xml\r\n\r\n"
    ).encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((gateway, 1900))
        print("ready", flush=True)
        while True:
            udp.sendto(found, udp.recvfrom(2048)[1])


def describe(ears: socket.socket, lie: str, elsewhere: str) -> None:
    while True:
        with ears.accept()[0] as link, contextlib.suppress(OSError):
            link.recv(4096)
            if lie == "elsewhere":
                url = f"http://{elsewhere}/"
                text = (
                    f"<URLBase>{url}</URLBase><service><serviceType>{SERVICE}</serviceType>"
                    f"<controlURL>{url}ctl</controlURL></service>"
                )
                link.sendall(f"HTTP/1.1 200 OK\r\n\r\n{text}".encode())
            else:
                link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(4096):
                    link.sendall(b"x" * 65536)


def note(port: int) -> None:
    with socket.create_server(("0.0.0.0", port)) as ears:
        print("ready", flush=True)
        while True:
            link, address = ears.accept()
            print("came", address, flush=True)
            link.close()


if __name__ == "__main__":
    if sys.argv[1] == "note":
        note(int(sys.argv[2]))
    else:
        router(*sys.argv[2:])
