-- A transaction's states by their proper names, the variants of one that was offered at a higher price, and what it cost.

ALTER TABLE transactions RENAME TO old_transactions;
DROP INDEX one_anchor_of_a_size;
DROP INDEX one_opening;

-- Transactions to the TransparencyLog. The signed bytes are here before any node has seen them, and every state before
-- what follows from it is done; chain/lifecycle.py says how one follows from another. A nonce is given to one purpose
-- only: rows with the same nonce are variants of one transaction at different prices, of which a block can take one.
CREATE TABLE transactions (
    id          INTEGER PRIMARY KEY,
    chain_id    INTEGER NOT NULL,
    contract    BLOB NOT NULL CHECK (length(contract) = 20),
    purpose     TEXT NOT NULL CHECK (purpose IN ('open', 'anchor')),
    size        INTEGER,                           -- of an anchor: leaves
    root        BLOB CHECK (length(root) = 32),    -- of an anchor
    state       TEXT NOT NULL CHECK (state IN
        ('prepared', 'sent', 'mined', 'final', 'replaced', 'reorganised', 'abandoned')),
    sender      BLOB NOT NULL CHECK (length(sender) = 20),
    nonce       INTEGER,                           -- NULL, as raw, if it was found on the chain and is not from here
    raw         BLOB,
    hash        BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prepared_ms INTEGER NOT NULL,                  -- the gateway's clock, milliseconds since 1970
    sent_ms     INTEGER,                           -- likewise, when it was last taken up as sent
    block       INTEGER,                           -- the block that holds it, while there is one
    block_hash  BLOB CHECK (length(block_hash) = 32),
    gas_used    INTEGER,
    cost        TEXT,                              -- paid for it, in wei: decimal, for it may not fit into 64 bits
    passed_at   INTEGER,                           -- the newest block when its nonce was first seen in use without it
    note        TEXT NOT NULL DEFAULT '',
    CHECK ((size IS NULL) = (purpose = 'open') AND (root IS NULL) = (size IS NULL)),
    CHECK ((nonce IS NULL) = (raw IS NULL)),
    CHECK (state NOT IN ('mined', 'final') OR (block IS NOT NULL AND block_hash IS NOT NULL))
) STRICT;

INSERT INTO transactions
SELECT id, chain_id, contract, purpose, size, root, iif(state = 'failed', 'abandoned', state), sender, nonce, raw, hash,
       prepared_ms, iif(state = 'sent', prepared_ms, NULL), block, block_hash, gas_used, NULL, passed_at, note
FROM old_transactions;
DROP TABLE old_transactions;

-- The same anchor twice is one transaction.
CREATE UNIQUE INDEX one_anchor_of_a_size ON transactions (chain_id, contract, size)
WHERE purpose = 'anchor' AND state NOT IN ('replaced', 'abandoned');
CREATE UNIQUE INDEX one_opening ON transactions (chain_id, contract)
WHERE purpose = 'open' AND state NOT IN ('replaced', 'abandoned');
-- Of the variants of a nonce one is pursued at a time.
CREATE UNIQUE INDEX one_variant_of_a_nonce ON transactions (chain_id, sender, nonce)
WHERE nonce IS NOT NULL AND state NOT IN ('replaced', 'abandoned');
-- The variants of a nonce, and the highest nonce of an account.
CREATE INDEX siblings ON transactions (chain_id, sender, nonce);
-- The few that are on their way, among all that ever were.
CREATE INDEX live ON transactions (chain_id, size) WHERE state IN ('prepared', 'sent', 'mined', 'reorganised');
