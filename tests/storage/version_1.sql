-- The tables of natd 0.3.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE networks (
    network BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, key BLOB NOT NULL, nick TEXT NOT NULL,
    servers TEXT NOT NULL, is_open INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE peers (
    network BLOB, peer BLOB, nick TEXT NOT NULL, trust TEXT NOT NULL,
    is_blocked INTEGER NOT NULL, card BLOB NOT NULL, last_good TEXT NOT NULL,
    last_heard_unix_s INTEGER NOT NULL, PRIMARY KEY (network, peer)) WITHOUT ROWID;
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY, network BLOB NOT NULL, peer BLOB NOT NULL,
    outbound_epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 1,
    first_unacknowledged INTEGER NOT NULL DEFAULT 1,
    inbound_epoch INTEGER, inbound_seq INTEGER NOT NULL DEFAULT 0, UNIQUE (network, peer));
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, network BLOB NOT NULL, is_outbound INTEGER NOT NULL,
    conversation INTEGER, nick TEXT NOT NULL, trust TEXT NOT NULL, message TEXT NOT NULL,
    sent_at_unix_ms INTEGER NOT NULL, stored_at_unix_ms INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT NOT NULL, is_open INTEGER NOT NULL);
CREATE INDEX messages_of_network ON messages (network, id);
CREATE INDEX open_messages ON messages (id) WHERE is_open = 1;
CREATE TABLE outbox (
    conversation INTEGER, seq INTEGER, message INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq)) WITHOUT ROWID;
CREATE INDEX outbox_of_message ON outbox (message);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at_unix_ms INTEGER NOT NULL, type TEXT NOT NULL, network TEXT,
    body TEXT NOT NULL);
CREATE INDEX message_events ON events (network, id) WHERE type = 'message';
CREATE TABLE cursors (name TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS arrived_messages ON messages (conversation, message)
    WHERE conversation IS NOT NULL;
PRAGMA application_id = 1851880548;
PRAGMA user_version = 1;
