"""End to end: a real dockerd, a real Open vSwitch and the real process, in a world of their own."""
