"""natd: direct, encrypted peer-to-peer sessions behind NATs, from one UDP socket.

This file stays a docstring: `natctl status` imports `natd.ipc` through it and must not load QUIC.
"""
