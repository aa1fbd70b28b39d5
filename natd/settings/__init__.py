"""What the user has configured: YAML, environment and flags to one frozen value.

    file ──► yaml_tree ──┐
    NATD_...             ├──► config ──► Config, ServerConfig
    flags ───────────────┘       │
                                 ├─► setting       what each key may be
                                 ├─► names         networks, nicks, servers, addresses
                                 └─► secret_file   the secret of a network

`natd/__main__.py` reads it at a start, `daemon` again at SIGHUP.

Rules:
- All problems are told at once, each with file, line, key and what was expected.
- A default stands in `config` and nowhere else; `config/*.yaml` documents it, and a test compares.
- A secret never stands in the configuration, in a log line or in an error.

Others import: config, names, secret_file, setting.
"""
