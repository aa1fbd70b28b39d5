"""What natctl says to people: answers of the daemon in, lines of spans out.  Pure.

    views          status, peers, networks, join, send, ping, config
    doctor_views   doctor
    event_views    events and messages
       └─► all use wording: durations, names, paths, columns
    usage_words    what was wrong with an argument

`natctl/commands` picks the view; `natctl/output.py` makes every span safe and prints it.

Rules:
- Eighty columns, the most important first.
- Plain English, for people who have never heard of NAT; its terms only with `-v`.
- Whatever an answer lacks, or has too much, is shown without an error: daemons differ in age.

Others import: doctor_views, event_views, usage_words, views, wording.
"""
