"""Asking the router for a UDP port: UPnP, NAT-PMP and PCP, all at once.

    client ──┬─► ssdp      finds a UPnP router, at a gateway_url
             │   igd       what is said to it (by the shell: `natd/net/upnp.py`)
             ├─► natpmp    RFC 6886, bytes
             ├─► pcp       RFC 6887, bytes
             └─► grant     what each protocol granted: when to ask again, when it is gone

`client` is a core like any other: datagrams and timers in, datagrams and the mapped address
out.  `natd/net/portmap.py` gives it a socket.  The mapped address becomes a candidate in our
card; nothing else of natd knows this wing.

Rules:
- Only the default gateway's own answers count, and only URLs of its own.
- What was granted is given back at a stop, and renewed at half of its lifetime.

Others import: client, gateway_url, igd.
"""
