"""How things are: the answers to `status`, `peers`, `networks`, `identity` and `doctor`.

    report ──┬─► disk_problems                  what is wrong with the disk, or on it
             ├─► doctor ──┬─► advice            the fixed sentences for people
             │            ├─► sightings ──► nat_words   where others see us, in words
             │            ├─► rows              what the answers are made of
             │            ├─► summary           the first sentence, in everyday words
             │            ├─► nat_words         a NAT report in words: for all, and for experts
             │            ├─► server_rows       each server, and where it was asked
             │            ├─► unmet             what is said of a peer that was never met
             │            └─► lifetime_words    how long the NAT keeps a flow
             └─► dropped                        every counter of what was dropped

`report` gathers the rows that `natctl` and programs get; `doctor` adds the checks and the
verdict.  Why there is no path is judged in `natd/core/peer/judgement.py`.

Rules:
- Nothing is changed and nothing is sent: everything is known already.
- Texts are plain English; the terms of NAT stand in fields of their own, for `-v` and `--json`.

Others import: report.
"""
