"""Other options for what stands.

Now: ``changes.py``. At a container's next start: ``changed_options.py``.
"""
