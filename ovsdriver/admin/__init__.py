"""What a person asks the process: requests, answers and reports, on the admin socket.

Knows the services and says what they know; the command line is its only user. Begin with
``asks.py`` (what may be asked, and what comes back), then ``desk.py`` (where it is answered) and
``api.py`` (HTTP).
"""
