"""Everything that touches the network, for the daemon and for the coordination server.

    udp                  the daemon's main socket and its helper sockets
    lan                  the multicast group by which members on our LAN find each other
    network_interfaces   this machine's addresses and ways out, and when they change
    local_addresses      which of the addresses go first into the card
    routes               by which interface and gateway a packet would leave
    server_names         HOST:PORT -> addresses, looked up again while they fail
    portmap ──► upnp     a port at the router: the shell around natd/core/portmap
      gateway_http       one bounded HTTP request to the gateway
    listeners            the coordination server's sockets

Each is a shell: it reads sockets and clocks and hands bytes to the core that `daemon/engine` or
`server` has given it.

Rules:
- Nothing that the network does raises: it is counted, and the counter has a reader.
- A read takes a bounded number of datagrams, then others have their turn.

Others import: lan, listeners, network_interfaces, portmap, server_names, udp.
"""
