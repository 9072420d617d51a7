-- What an endpoint's link was like inside of its container, to make it again if it is destroyed.

CREATE TABLE sandbox_link (
    endpoint  TEXT NOT NULL PRIMARY KEY REFERENCES endpoint (id) ON DELETE CASCADE,
    record    TEXT NOT NULL CHECK (json_valid(record))
) STRICT, WITHOUT ROWID;
