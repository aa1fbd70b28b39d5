"""One running peer daemon: from the process' start to its clean end.

    daemon      sockets, signals, service manager, stop within 2 s
      │ loads once the process is ready (QUIC takes half of a start)
      ▼
    engine      the Node and the pump around it:
      │         datagrams, timers, commits -> node -> datagrams, events, timers
      ├─► practice    a meeting in memory before the first real one
      ├─► commands    what each request over IPC does
      │     └─► outgoing    `send`: once for each name
      ├─► members     networks, event log, messages        (natd/members)
      └─► doctor      status, peers, doctor                (natd/doctor)

Rules:
- Only the pump carries out what the node wants, once after each burst of inputs.
- READY is told when both sockets exist, and not before.

Others import: daemon.
"""
