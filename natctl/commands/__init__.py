"""The commands of natctl, grouped by what they are about.

    join      join, leave                 starts a daemon where none runs
    status    status, peers, networks, identity
    chat      chat, send, history
    events    tail, events
    doctor    doctor, ping, retry, wait
    admin     trust, block, forget, config, reload, shutdown, completion
    demo      demo

`natctl/__main__.py` names the function of each command as text and loads a module only when its
command is called: `natctl status` must not wait for `natctl demo`.

Rules:
- A command is short: parse, one request, one call into `natctl/output.py`.
- What people read is written in `natctl/words`; the answer itself is what `--json` prints.

Others import: nothing.
"""
