"""What can be said no to, worded for the person who typed the command.

The class chooses the HTTP status, the raise site the words: what was refused, why, and what to
type instead. No class has status 404: dockerd reads 404 from ProgramExternalConnectivity as
"not implemented" and drops the error (moby, daemon/libnetwork/drivers/remote/driver.go).
"""


class DriverError(Exception):
    """Anything the network driver refuses or cannot do; the text is for the caller."""

    status = 500


class InvalidRequestError(DriverError):
    """The request itself is malformed: not JSON, a member missing or of the wrong type."""

    status = 400


class InvalidOptionError(DriverError):
    """An option is unknown, contradicts another one, or has a value outside its range."""

    status = 400


class UnknownObjectError(DriverError):
    """A network or endpoint id that we have no record of, in a call that needs one."""

    status = 400


class ConflictError(DriverError):
    """What is asked for is taken: a VLAN, a bridge, a subnet, a name."""

    status = 409


class UnsupportedError(DriverError):
    """Well-formed, but this host or this network cannot do it."""

    status = 400


class UnavailableError(DriverError):
    """Something we need does not answer now: Open vSwitch, the kernel, our own store."""

    status = 503


class ConfigurationError(DriverError):
    """The configuration file, a variable or a flag is wrong."""

    status = 500


class CommandLineError(ConfigurationError):
    """A flag is wrong: who typed it is there to read it."""
