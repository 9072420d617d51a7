"""What a database has: its schema, values that fit, a copy of the rows, parts of changes."""
