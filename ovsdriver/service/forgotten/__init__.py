"""What Docker forgot: collected with proof, listed without, purged when asked.

Begin with ``collector.py``; ``doubts.py`` says what proof is.
"""
