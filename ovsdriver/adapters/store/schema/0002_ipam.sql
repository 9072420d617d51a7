-- Pools and leases.

-- One row: how often the store was loaded. Serials of leases and ids of pools begin with it.
CREATE TABLE ipam_epoch (
    only   INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    value  INTEGER NOT NULL
) STRICT;
INSERT INTO ipam_epoch VALUES (1, 0);

CREATE TABLE ipam_pool (
    key        INTEGER NOT NULL PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    space      TEXT NOT NULL,
    subnet     TEXT NOT NULL,
    range      TEXT,
    automatic  INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    created    REAL NOT NULL,
    UNIQUE (space, subnet)
) STRICT;

-- An address is its distance from the subnet's first one, in two parts of 62 bits, because an
-- integer of SQLite has 63 and an IPv6 host part may have more. The high part is nearly always 0,
-- which takes no byte in a row. The unique index is the rule that an address has one holder, and
-- it is all that is read at start: so it is an index of its own, without the names.
CREATE TABLE ipam_lease (
    serial       INTEGER NOT NULL PRIMARY KEY,
    pool         INTEGER NOT NULL REFERENCES ipam_pool (key) ON DELETE CASCADE,
    offset_high  INTEGER NOT NULL CHECK (offset_high >= 0),
    offset       INTEGER NOT NULL CHECK (offset >= 0),
    kind         TEXT NOT NULL CHECK (kind IN ('endpoint', 'gateway', 'aux')),
    wanted       INTEGER NOT NULL CHECK (wanted IN (0, 1)),
    name         TEXT NOT NULL,
    created      REAL NOT NULL,
    UNIQUE (pool, offset_high, offset)
) STRICT;

-- A pool has one gateway.
CREATE UNIQUE INDEX ipam_lease_gateway ON ipam_lease (pool) WHERE kind = 'gateway';

-- Who had an address before, and may want it again. A row of an address that has a holder now is
-- out of date and means nothing.
CREATE TABLE ipam_memory (
    pool         INTEGER NOT NULL REFERENCES ipam_pool (key) ON DELETE CASCADE,
    offset_high  INTEGER NOT NULL CHECK (offset_high >= 0),
    offset       INTEGER NOT NULL CHECK (offset >= 0),
    name         TEXT NOT NULL,
    wanted       INTEGER NOT NULL CHECK (wanted IN (0, 1)),
    since        REAL NOT NULL,
    PRIMARY KEY (pool, offset_high, offset)
) STRICT, WITHOUT ROWID;
