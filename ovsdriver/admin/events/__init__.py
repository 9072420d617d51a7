"""What happened, for who asks once (``desk.py``) and who follows it (``stream.py``)."""
