"""The control socket: requests of natctl, chats and bots in, answers and events out.

    ControlLink (control_link)      the listening socket; Admission (admission): who gives way
         │ accepts
    Connection (connection) ──► ZmtpPeer (zmtp_peer)      the wire of ZeroMQ, without ZeroMQ
         │ frames
         ▼
    Control (control) ──► RequestQueue (request_queue)    a client's requests, in order
         │                check_fields (request_fields)   has the request a field it should not?
         │            ──► CommandTable (command_table)    `do` -> the daemon's function
         │                                                one reply frame, whatever happens
         └─────────────► Subscription (subscription)      a client's place in the event log,
                                                          and its credit

`daemon` builds a table of its commands and hands it to `Control`.  Nothing here knows what a
command does or what an event says.

Rules:
- Requests of one client take effect, and are answered, in the order in which they came.
- A request is answered once; a command that raises is answered with an error.
- An event is sent only against credit, so a slow client costs nothing.
- Connections are bounded, and the owner is never locked out: see `natd.control.admission`.
- Nothing of libzmq is in this process.

Others import: admission, command_table, control.
"""
