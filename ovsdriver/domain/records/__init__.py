"""What is stored and asked for: networks, endpoints, requests, names, notes of changes.

Begin with ``model.py``. A field that is added here is in the store from then on.
"""
