-- What a user may ask of a pool beyond its subnet, and addresses that are kept for someone.

-- Words like 10.0.0.5 or 10.0.0.10-10.0.0.20, with blanks between them.
ALTER TABLE ipam_pool ADD COLUMN excluded TEXT NOT NULL DEFAULT '';
ALTER TABLE ipam_pool ADD COLUMN quarantine REAL NOT NULL DEFAULT 0 CHECK (quarantine >= 0);
ALTER TABLE ipam_pool ADD COLUMN most INTEGER CHECK (most > 0);
ALTER TABLE ipam_pool ADD COLUMN probe INTEGER NOT NULL DEFAULT 0 CHECK (probe IN (0, 1));

-- Of a space and not of a pool: networks come and go, and their addresses stay reserved.
CREATE TABLE ipam_reservation (
    space    TEXT NOT NULL,
    address  TEXT NOT NULL,
    name     TEXT NOT NULL,
    note     TEXT NOT NULL,
    created  REAL NOT NULL,
    PRIMARY KEY (space, address)
) STRICT, WITHOUT ROWID;

-- A row of ipam_memory with neither a name nor wanted says since when an address is in quarantine.
