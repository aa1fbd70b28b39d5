"""The tables of the daemon's SQLite file.

    networks        joined, and their keys
    peers           met: card, trust, last-good addresses
    acquaintances   on how many days each was connected, and since when
    conversations   one for each peer: where both directions stand; aside: of a forgotten peer
    messages        history, both directions; one row whatever the number of recipients
    outbox          (conversation, seq) -> message; acknowledged below `first_unacknowledged`
    events          the event log
    cursors         how far named readers of the log have come
    asked           names that clients gave their messages, for a day
    meta            what one run notes for the next: own time, the port, how the clock stood, …

`outbound_epoch` names our outbox, `inbound_epoch` the peer's: 64 bits, kept as signed integers,
SQLite's own.

Columns that end in `_unix_ms` or `_unix_s` are for people: the clock may have been wrong.  What
decides how long something stays are those in the daemon's own time (`natd.storage.own_time`):
`kept_at_s` of a message and of an event, `heard_at_s` of a peer, the instants in `last_good`, and
those of an acquaintance.

A text stands once, in `messages`: the event of a message has its number there.

    version 1   until 0.3
    version 2   own time; texts once; what each peer has stored here
"""

NOTE = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
"""Name and value of what the daemon notes for its next run."""

APPLICATION_ID = 0x6E617464
"""`natd` in ASCII, in the file's header: tells our file from anybody else's."""

SCHEMA_VERSION = 2

ACQUAINTANCES = """
CREATE TABLE acquaintances (
    network BLOB, peer BLOB, days INTEGER NOT NULL, first_at_s INTEGER NOT NULL,
    counted_at_s INTEGER NOT NULL, PRIMARY KEY (network, peer)) WITHOUT ROWID;
"""

SCHEMA = f"""{ACQUAINTANCES}
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE networks (
    network BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, key BLOB NOT NULL, nick TEXT NOT NULL,
    servers TEXT NOT NULL, is_open INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE peers (
    network BLOB, peer BLOB, nick TEXT NOT NULL, trust TEXT NOT NULL,
    is_blocked INTEGER NOT NULL, card BLOB NOT NULL, last_good TEXT NOT NULL,
    last_heard_unix_s INTEGER NOT NULL, heard_at_s INTEGER, PRIMARY KEY (network, peer))
    WITHOUT ROWID;
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY, network BLOB NOT NULL, peer BLOB NOT NULL,
    outbound_epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 1,
    first_unacknowledged INTEGER NOT NULL DEFAULT 1,
    inbound_epoch INTEGER, inbound_seq INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0, done_id INTEGER NOT NULL DEFAULT 0,
    is_aside INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, peer));
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, network BLOB NOT NULL, is_outbound INTEGER NOT NULL,
    conversation INTEGER, nick TEXT NOT NULL, trust TEXT NOT NULL, message TEXT NOT NULL,
    sent_at_unix_ms INTEGER NOT NULL, stored_at_unix_ms INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT NOT NULL, is_open INTEGER NOT NULL, kept_at_s INTEGER NOT NULL);
CREATE INDEX messages_of_network ON messages (network, id);
CREATE INDEX open_messages ON messages (id) WHERE is_open = 1;
CREATE TABLE outbox (
    conversation INTEGER, seq INTEGER, message INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq)) WITHOUT ROWID;
CREATE INDEX outbox_of_message ON outbox (message);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at_unix_ms INTEGER NOT NULL, type TEXT NOT NULL, network TEXT,
    body TEXT NOT NULL, kept_at_s INTEGER NOT NULL, message INTEGER);
CREATE INDEX message_events ON events (network, id) WHERE type = 'message';
CREATE TABLE cursors (name TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX arrived_messages ON messages (conversation, message)
    WHERE conversation IS NOT NULL;
"""

ROW_BYTES = 700
"""What a message takes on the disk besides its text: its rows, its event and their indexes
(measured: 620 bytes for a line of one byte)."""

EMPTIED_BYTES = 200
"""What is left of one whose id alone is kept."""

FROM_VERSION_1 = f"""{ACQUAINTANCES}
ALTER TABLE peers ADD COLUMN heard_at_s INTEGER;
UPDATE peers SET heard_at_s = last_heard_unix_s;
ALTER TABLE conversations ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN done_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN is_aside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN kept_at_s INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET kept_at_s = stored_at_unix_ms / 1000;
ALTER TABLE events ADD COLUMN kept_at_s INTEGER NOT NULL DEFAULT 0;
UPDATE events SET kept_at_s = at_unix_ms / 1000;
ALTER TABLE events ADD COLUMN message INTEGER;
UPDATE conversations SET stored_bytes = (
    SELECT coalesce(sum(length(CAST(body AS BLOB)) + {ROW_BYTES}), 0) FROM messages
    WHERE messages.conversation = conversations.id);
UPDATE conversations SET done_id = (SELECT coalesce(max(id), 0) FROM messages);
CREATE INDEX IF NOT EXISTS arrived_messages ON messages (conversation, message)
    WHERE conversation IS NOT NULL;
"""
"""Own time begins at the clock's, so instants by the clock are good for it as they are."""

ASKED_TABLE = """
CREATE TABLE IF NOT EXISTS asked (
    network BLOB, program TEXT, name TEXT, digest BLOB NOT NULL, at_s INTEGER NOT NULL,
    id INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (network, program, name)) WITHOUT ROWID
"""
"""`id` is the row in `messages`, `at_s` an instant of own time.  Made in older files, too."""

EMPTIED = "emptied"
"""In the column `trust`: only the id of a message is kept, so that it is known again."""
