-- What the gateway knows of the chain: its own transactions there, and how far it has read the registry.

-- Transactions to the TransparencyLog. The signed bytes are here before any node has seen them; see chain/submitter.py.
CREATE TABLE transactions (
    id          INTEGER PRIMARY KEY,
    chain_id    INTEGER NOT NULL,
    contract    BLOB NOT NULL CHECK (length(contract) = 20),
    purpose     TEXT NOT NULL CHECK (purpose IN ('open', 'anchor')),
    size        INTEGER,                           -- of an anchor: leaves
    root        BLOB CHECK (length(root) = 32),    -- of an anchor
    state       TEXT NOT NULL CHECK (state IN ('prepared', 'sent', 'mined', 'final', 'failed')),
    sender      BLOB NOT NULL CHECK (length(sender) = 20),
    nonce       INTEGER,                           -- NULL, as raw, if it was found on the chain and is not from here
    raw         BLOB,
    hash        BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prepared_ms INTEGER NOT NULL,                  -- the gateway's clock, milliseconds since 1970
    block       INTEGER,                           -- the block that holds it, while there is one
    block_hash  BLOB CHECK (length(block_hash) = 32),
    gas_used    INTEGER,
    passed_at   INTEGER,                           -- the newest block when its nonce was first seen in use without it
    note        TEXT NOT NULL DEFAULT '',
    CHECK ((size IS NULL) = (purpose = 'open') AND (root IS NULL) = (size IS NULL)),
    CHECK ((nonce IS NULL) = (raw IS NULL)),
    CHECK (state NOT IN ('mined', 'final') OR (block IS NOT NULL AND block_hash IS NOT NULL))
) STRICT;

-- The same anchor twice is one transaction.
CREATE UNIQUE INDEX one_anchor_of_a_size ON transactions (chain_id, contract, size)
WHERE purpose = 'anchor' AND state <> 'failed';
CREATE UNIQUE INDEX one_opening ON transactions (chain_id, contract)
WHERE purpose = 'open' AND state <> 'failed';

-- The block up to which `boards` mirrors the registry, and its hash, by which a reorganised chain is noticed.
CREATE TABLE registry_cursor (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    chain_id   INTEGER NOT NULL,
    registry   BLOB NOT NULL CHECK (length(registry) = 20),
    block      INTEGER NOT NULL,
    block_hash BLOB NOT NULL CHECK (length(block_hash) = 32)
) STRICT;
