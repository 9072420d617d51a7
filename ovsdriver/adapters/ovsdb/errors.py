"""What can go wrong between us and ovsdb-server. None of it leaves ``adapters``."""


class OvsdbError(Exception):
    """Base of the others."""


class ConnectionLostError(OvsdbError):
    """The connection could not be made, broke, or the server stopped answering on it.

    What was asked on it may or may not have been done.
    """


class RefusedError(OvsdbError):
    """The server, or our own check against its schema, refused an operation or a request.

    ``tag`` is RFC 7047's word for the reason, such as ``constraint violation``.
    """

    def __init__(self, tag: str, details: str = "") -> None:
        super().__init__(f"{tag}: {details}" if details else tag)
        self.tag = tag
