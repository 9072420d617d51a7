"""Create and delete networks, and show what one would make.

Begin with ``networks.py``; ``planner.py`` asks the host what a plan needs to know.
"""
