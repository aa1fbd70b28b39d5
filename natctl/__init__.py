"""natctl: the command line of natd.  It sees the daemon through `natd.ipc` only.

__main__ ─► lazy_group      which command, and only its module is loaded
   └──────► commands ──┬──► invocation      the global options, and the connection
                       ├──► network_choice  which network is meant
                       ├──► secret, since   a secret, or a moment, as people give it
                       ├──► launching       a daemon of this user, where none runs
                       ├──► sending         a message is sent once
                       └──► words ─► output    what is said, and where it is printed
exit_codes     how it ends
demo           two peers behind two NATs, on this machine
"""
