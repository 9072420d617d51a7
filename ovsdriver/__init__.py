"""The ovsnet process: the Docker edge, the network driver and everything that touches the world."""

__version__ = "0.1.0"
