-- Networks, endpoints and notes. What is queried or constrained is a column; the rest is JSON.

CREATE TABLE network (
    id      TEXT NOT NULL PRIMARY KEY,
    bridge  TEXT NOT NULL,
    tag     INTEGER NOT NULL CHECK (tag BETWEEN 0 AND 4094),
    shared  INTEGER NOT NULL CHECK (shared IN (0, 1)),
    record  TEXT NOT NULL CHECK (json_valid(record))
) STRICT, WITHOUT ROWID;

-- A segment carries one network; those that say ovs.shared=true may come on top of it. The index
-- is the rule; the trigger adds that one which does not say so may not come on top of those.
CREATE UNIQUE INDEX network_segment ON network (bridge, tag) WHERE shared = 0;
CREATE TRIGGER network_segment_taken BEFORE INSERT ON network WHEN NEW.shared = 0
BEGIN
    SELECT RAISE(ABORT, 'the segment is taken')
    FROM network WHERE bridge = NEW.bridge AND tag = NEW.tag;
END;

-- A pool is bound to one network for life.
CREATE TABLE network_pool (
    pool     TEXT NOT NULL PRIMARY KEY,
    network  TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX network_pool_network ON network_pool (network);

CREATE TABLE endpoint (
    id       TEXT NOT NULL PRIMARY KEY,
    network  TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE,
    record   TEXT NOT NULL CHECK (json_valid(record))
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_network ON endpoint (network);

CREATE TABLE note (
    key    TEXT NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
