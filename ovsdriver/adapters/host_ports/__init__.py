"""Published ports, held on the host so that no other program gets them.

``sockets.py`` holds them; ``relay.py`` serves those of ::1.
"""
