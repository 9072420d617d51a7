"""What a person asks the process: requests, answers and reports, on the admin socket.

Knows the services and says what they know; the command line is its only user. Begin with
``api.py`` (HTTP), then ``desk.py`` (what is answered) and ``report.py`` (what is shown).
"""
