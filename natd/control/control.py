"""The control socket: a table of commands, and the event log for subscribers.

A ZeroMQ ROUTER on a Unix socket; one UTF-8 JSON object a frame.

    -> {"v":1,"id":7,"do":"send","network":"demo","text":"hi"}
    <- {"v":1,"id":7,"ok":{...}}   or   {"v":1,"id":7,"error":{"code","text","hint"}}
    -> {"v":1,"id":8,"do":"subscribe","types":null,"since":4711,"cursor":"bot","credit":256}
    <- {"v":1,"id":8,"ok":{"after":4711,"oldest":1,"last":4760}}
    <- {"v":1,"event":{...}}
    -> {"v":1,"id":9,"do":"credit","n":128,"ack":4743}

Rules:
- Requests of one client take effect, and are answered, in the order in which they came
  (`natd.control.request_queue`); clients don't wait for one another.  Beyond the limits a request
  is refused at once.
- An event is sent only against credit, and is read from the log at that moment: a client that
  reads slowly or not at all costs nothing but its place in the log (`natd.control.subscription`).
- A lock file keeps a second daemon from the socket.
"""

import asyncio
import logging
import os



