"""What a socket does not want to hear, told to the kernel as a program of classic BPF."""

import ctypes
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26

LOAD_BYTE = 0x30
LOAD_HALF = 0x28
LOAD_WORD_AT_INDEX = 0x40
LOAD_WORD = 0x20
LOAD_NUMBER = 0x00
LOAD_INDEX = 0x01
TO_INDEX = 0x07
JUMP_IF_EQUAL = 0x15
GIVE_BACK = 0x06
"""As many bytes as this; 0: nothing, the message is dropped."""
ALL = 0xFFFFFFFF

Step = tuple[int, int, int, int]
"""Operation, steps to leave out if true and if false, operand (linux/filter.h, sock_filter)."""


def attach(made: socket.socket, program: Sequence[Step]) -> None:
    """Have a socket get only what a program lets through; in the place of an earlier program."""
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    made.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(buffer)),
    )
