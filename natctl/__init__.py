"""natctl: the command line of natd.  It sees the daemon through `natd.ipc` only."""
