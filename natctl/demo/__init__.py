"""`natctl demo`: a server and two peers behind two real NATs, on this machine.

    demo_play ──┬─► demo_stage ──┬─► own_world     network namespaces that leave no trace
                │                ├─► namespaces    their cables, routes and NATs
                │                ├─► ready_call    when a program is ready
                │                └─ delay_line     the distance: 50 ms, a process of its own
                └─► witness                        one daemon's event log, with instants

`demo_play` says what happens and when; `demo_stage` builds what it happens on, or plays on
loopback where this user can't have namespaces.

Rules:
- It needs no rights, touches nothing of the user's and leaves nothing behind, even if killed.
- Every time that is shown was measured by a witness, none is assumed.

Others import: demo_play.
"""
