"""Other options for what stands.

Now: ``changes.py``, with ``network.py`` and ``endpoint.py``. At a container's next start:
``changed_options.py``.
"""
