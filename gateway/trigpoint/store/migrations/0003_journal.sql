-- The journal of statements is the truth; what can be derived from it is folded later, in batches (store/fold.py).
--
-- A commit of ingest appends rows to `statements` and, seldom, writes to lost, evidence, rejected, counters and
-- boards.flagged. Everything marked "folded" below follows from `statements` and may be behind it:
--   tiles, log_state                     hold the first log_state.size leaves,
--   seqs, series, hours, boards' folded  hold the first folds.size ('index') statements.
-- So whoever reads them reads the tail above the watermark from `statements` as well. A fold is one transaction that
-- moves its watermark too, so it is never applied twice; to fold anew, empty what is folded and set the watermark to 0.

DROP TABLE readings;

ALTER TABLE boards RENAME TO old_boards;
CREATE TABLE boards (
    number       INTEGER PRIMARY KEY,              -- names the board in the rows below
    kid          BLOB NOT NULL UNIQUE CHECK (length(kid) = 32),
    x            BLOB NOT NULL CHECK (length(x) = 32),
    y            BLOB NOT NULL CHECK (length(y) = 32),
    owner        BLOB NOT NULL CHECK (length(owner) = 20),
    active_from  INTEGER NOT NULL,                 -- chain time, seconds since 1970
    active_until INTEGER,                          -- chain time; NULL while the board is active
    flagged      INTEGER NOT NULL DEFAULT 0,       -- 1 once there is clone evidence
    -- Folded, but for a declared loss, which is written at once with its row in `lost`: the board stands where this
    -- row or its newest statement above the watermark says, whichever is further.
    next_seq     INTEGER NOT NULL DEFAULT 0,
    -- of the statement before next_seq; zeros at 0; NULL if that one was declared lost
    last_entry   BLOB DEFAULT (zeroblob(32)) CHECK (last_entry IS NULL OR length(last_entry) = 32)
) STRICT;
INSERT INTO boards (kid, x, y, owner, active_from, active_until, flagged, next_seq, last_entry)
SELECT kid, x, y, owner, active_from, active_until, flagged, next_seq, last_entry FROM old_boards ORDER BY kid;
DROP TABLE old_boards;

ALTER TABLE statements RENAME TO old_statements;
CREATE TABLE statements (
    leaf_index INTEGER PRIMARY KEY,                -- its place in the log, from 0 without holes
    board      INTEGER NOT NULL,                   -- boards.number
    seq        INTEGER NOT NULL,
    arrival_ms INTEGER NOT NULL,
    raw        BLOB NOT NULL                       -- the bytes that the board signed; their SHA-256 is the entry
) STRICT;
INSERT INTO statements
SELECT leaf_index, number, seq, arrival_ms, raw FROM old_statements CROSS JOIN boards USING (kid) ORDER BY leaf_index;
DROP TABLE old_statements;

-- Folded: where a statement is.
CREATE TABLE seqs (
    board      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    leaf_index INTEGER NOT NULL,
    PRIMARY KEY (board, seq)
) STRICT, WITHOUT ROWID;

-- Folded: what a board measures. The exponent is part of it, so that sums are exact: value = mantissa * 10^exponent.
CREATE TABLE series (
    id       INTEGER PRIMARY KEY,
    board    INTEGER NOT NULL,
    name     TEXT NOT NULL,
    unit     TEXT NOT NULL,
    exponent INTEGER NOT NULL,
    UNIQUE (board, name, unit, exponent)
) STRICT;

-- Folded: one hour of a series. All series of a board in an hour stand together, so that a fold writes few pages.
CREATE TABLE hours (
    board     INTEGER NOT NULL,                    -- boards.number, as in `series`
    hour      INTEGER NOT NULL,                    -- of the readings' time: seconds since 1970, divided by 3600
    series    INTEGER NOT NULL,                    -- series.id
    readings  INTEGER NOT NULL,                    -- how many
    estimated INTEGER NOT NULL,                    -- how many of them have their time from the arrival
    doubtful  INTEGER NOT NULL,                    -- how many of them have a time ahead of their arrival
    sum       INTEGER NOT NULL,                    -- of mantissas, as are the next four
    minimum   INTEGER NOT NULL,
    maximum   INTEGER NOT NULL,
    first     INTEGER NOT NULL,                    -- the earliest by time; of several, that of the lowest leaf index
    last      INTEGER NOT NULL,                    -- the latest by time; of several, that of the highest leaf index
    first_s   INTEGER NOT NULL,                    -- their times: seconds into the hour
    last_s    INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,                    -- the statements with these readings are among these
    last_seq  INTEGER NOT NULL,
    PRIMARY KEY (board, hour, series)
) STRICT, WITHOUT ROWID;

-- How many statements have been folded. The log's own watermark is log_state.size.
CREATE TABLE folds (
    name TEXT PRIMARY KEY CHECK (name = 'index'),
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO folds VALUES ('index', 0);             -- what is stored already is folded when the gateway starts

-- Counted in memory and written from time to time. How many were accepted is how many there are.
DELETE FROM counters WHERE name = 'accepted';
