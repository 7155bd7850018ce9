-- Boards, what they stated, and the log over it.
-- Hashes, keys and ids are raw bytes. A kid is the board id of docs/protocol.md section 2.

-- The registry's mirror (kid to active_until) is written by store/chain.py, the rest by ingest.
CREATE TABLE boards (
    kid          BLOB PRIMARY KEY CHECK (length(kid) = 32),
    x            BLOB NOT NULL CHECK (length(x) = 32),
    y            BLOB NOT NULL CHECK (length(y) = 32),
    owner        BLOB NOT NULL CHECK (length(owner) = 20),
    active_from  INTEGER NOT NULL,                 -- chain time, seconds since 1970
    active_until INTEGER,                          -- chain time; NULL while the board is active
    flagged      INTEGER NOT NULL DEFAULT 0,       -- 1 once there is clone evidence
    next_seq     INTEGER NOT NULL DEFAULT 0,
    -- of the statement before next_seq; zeros at 0; NULL if that one was declared lost
    last_entry   BLOB DEFAULT (zeroblob(32)) CHECK (last_entry IS NULL OR length(last_entry) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE statements (
    leaf_index INTEGER PRIMARY KEY,                -- its place in the log, from 0 without holes
    kid        BLOB NOT NULL,
    seq        INTEGER NOT NULL,
    raw        BLOB NOT NULL,                      -- the bytes that the board signed
    entry      BLOB NOT NULL CHECK (length(entry) = 32),
    arrival_ms INTEGER NOT NULL,
    UNIQUE (kid, seq)
) STRICT;

CREATE TABLE readings (
    leaf_index  INTEGER NOT NULL REFERENCES statements (leaf_index),
    position    INTEGER NOT NULL,                  -- place in the pack, from 0
    kid         BLOB NOT NULL,
    name        TEXT NOT NULL,
    unit        TEXT NOT NULL,
    mantissa    INTEGER NOT NULL,                  -- value = mantissa * 10^exponent
    exponent    INTEGER NOT NULL,
    time_s      INTEGER NOT NULL,                  -- seconds since 1970
    time_source TEXT NOT NULL CHECK (time_source IN ('board', 'arrival', 'doubtful')),
    PRIMARY KEY (leaf_index, position)
) STRICT, WITHOUT ROWID;

-- Statements that a board declared lost under its signature.
CREATE TABLE lost (
    kid      BLOB NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq   INTEGER NOT NULL CHECK (to_seq >= from_seq),   -- inclusive
    raw      BLOB NOT NULL,                        -- the statement that says so, itself not always stored
    PRIMARY KEY (kid, from_seq)
) STRICT, WITHOUT ROWID;

-- Tiles of leaf and node hashes (C2SP tlog-tiles, height 8): 1 to 256 hashes of 32 bytes.
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    data  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT;

-- The log's head. log_id and log_key stay NULL until the gateway has run once with its keys, and never change after.
CREATE TABLE log_state (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    size    INTEGER NOT NULL,
    root    BLOB NOT NULL CHECK (length(root) = 32),
    log_id  BLOB CHECK (length(log_id) = 32),
    log_key BLOB CHECK (length(log_key) = 32)
) STRICT;

-- RFC 9162 section 2.1.1: the root of an empty tree is the hash of an empty string.
INSERT INTO log_state (id, size, root)
VALUES (1, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

-- Well signed statements that contradict what is stored (protocol section 5: clone and fork).
CREATE TABLE evidence (
    kid        BLOB NOT NULL,
    entry      BLOB NOT NULL,
    seq        INTEGER NOT NULL,
    raw        BLOB NOT NULL,
    reason     TEXT NOT NULL CHECK (reason IN ('clone', 'fork')),
    arrival_ms INTEGER NOT NULL,
    PRIMARY KEY (kid, entry)
) STRICT;

-- A bounded list of refused input, newest last, for inspection.
CREATE TABLE rejected (
    id         INTEGER PRIMARY KEY,
    reason     TEXT NOT NULL,
    detail     TEXT NOT NULL,
    topic      TEXT NOT NULL,                      -- its first characters
    raw        BLOB NOT NULL,                      -- its first bytes
    size       INTEGER NOT NULL,                   -- of the whole message, in bytes
    arrival_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
