"""The one SQLite file: records, leases and notes, durable before anybody hears of them.

Begin with ``database.py`` (one writer, shared commits), then ``state.py`` and ``leases.py``.
"""
