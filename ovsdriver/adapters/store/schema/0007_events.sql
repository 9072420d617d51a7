-- What happened, for as long as anybody may ask: written with the commit that caused it.

CREATE TABLE event (
    id          INTEGER NOT NULL PRIMARY KEY,
    time        REAL NOT NULL,
    type        TEXT NOT NULL,
    action      TEXT NOT NULL,
    network     TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    container   TEXT NOT NULL,
    cause       TEXT NOT NULL,
    attributes  TEXT NOT NULL
) STRICT;

-- What networks and containers were called, by the ids of networks and endpoints: Docker tells
-- names later than anything else, and only of what is still there.
CREATE TABLE event_name (
    id    TEXT NOT NULL PRIMARY KEY,
    name  TEXT NOT NULL,
    -- the newest event by then
    seen  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Up to where who is told of events has taken them.
CREATE TABLE event_reader (
    reader    TEXT NOT NULL PRIMARY KEY,
    position  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
