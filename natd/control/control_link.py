"""The ZeroMQ side of the control socket: a ROUTER, and the monitor of its connections.

    client's frame  ─► receive ─► routing id, body, descriptor
    accept, hang up ─► monitor ─► is_connected, hang_ups

Rules:
- ROUTER_MANDATORY: a frame for a client that has gone is an error here, and the client is
  forgotten.  A monitor tells of those that just hang up.
- The socket file's mode is right from the moment of bind.
- The library stands here alone: `natd.control.control` sees bytes and ConnectionError.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

REQUEST_LIMIT_BYTES = 1 << 20
"""The largest request; ZeroMQ hangs up on a client that sends more."""

QUEUE_FRAMES = 256
"""ZeroMQ's own queues of one client: at the largest event of some 20 KiB these are 5 MiB."""

LINGER_MS = 300
"""A stop gives the last replies this long."""


class ControlLink:
    """The ROUTER and the monitor that tells which of its connections are there."""

    def __init__(self, path: Path, mode: int) -> None:
        """Raises OSError where `path` can't be bound."""
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.MAXMSGSIZE, REQUEST_LIMIT_BYTES)
        self._router.setsockopt(zmq.SNDHWM, QUEUE_FRAMES)
        self._router.setsockopt(zmq.RCVHWM, QUEUE_FRAMES)
        self._router.setsockopt(zmq.LINGER, LINGER_MS)
        # Not the events of failed handshakes: their value is an errno, which is easily taken for
        # the descriptor of some living client, and a disconnection is told of each as well.
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._connected: set[int] = set()
        # libzmq gives the file the mode that the umask leaves; it removes a stale one itself.
        umask = os.umask(0o777 & ~mode)
        try:
            self._router.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, os.strerror(error.errno or 0)) from None
        finally:
            os.umask(umask)
        self.descriptor = int(self._router.getsockopt(zmq.FD))
        self.monitor_descriptor = int(self._monitor.getsockopt(zmq.FD))

    def receive(self, known: Mapping[bytes, object]) -> tuple[bytes, bytes | None, int] | None:
        """Routing id, body, and for one that is not `known` its connection's descriptor, below 0
        where that can't be had.

        The body is None when the message had more than one frame; None for no message.
        """
        try:
            routing_id = self._router.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        descriptor = -1
        if routing_id in known:
            body: bytes | None = self._router.recv()
        else:
            frame = self._router.recv(copy=False)
            with contextlib.suppress(zmq.ZMQError):
                descriptor = int(frame.get(zmq.SRCFD))
            body = frame.bytes
        while self._router.rcvmore:
            self._router.recv()
            body = None
        return routing_id, body, descriptor

    def send(self, routing_id: bytes, frame: bytes) -> bool:
        """False: the queue is full.  ConnectionError: it has gone."""
        try:
            self._router.send(routing_id, zmq.SNDMORE | zmq.NOBLOCK)
            self._router.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            raise ConnectionError(error.strerror) from None
        return True

    def is_connected(self, descriptor: int) -> bool:
        return descriptor in self._connected

    def hang_ups(self) -> set[int]:
        """The descriptors of connections that have ended since the last call."""
        gone: set[int] = set()
        while True:
            try:
                told = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return gone
            if told["event"] == zmq.EVENT_ACCEPTED:
                self._connected.add(told["value"])
            else:
                self._connected.discard(told["value"])
                gone.add(told["value"])

    def close(self) -> None:
        """Blocks for up to LINGER_MS while replies leave."""
        self._router.disable_monitor()
        self._monitor.close(linger=0)
        self._router.close()
        self._context.term()
