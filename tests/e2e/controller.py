"""Program: an OpenFlow 1.3 controller that has bridges switch as they would by themselves.

It runs on os-ken's messages, in an environment of its own (see ``pyproject.toml``).
``controller.py PORT`` prints ``ready``, then ``switch`` for each bridge that connects and gets its
one flow; it runs until it is ended.
"""

import socket
import struct
import sys
import threading
from types import SimpleNamespace

from os_ken.ofproto import ofproto_v1_3 as of
from os_ken.ofproto import ofproto_v1_3_parser as messages

_HEADER = struct.Struct("!BBHI")


def serve(port: int) -> None:
    """Take connections on the loopback until this process is ended."""
    with socket.create_server(("127.0.0.1", port)) as server:
        print("ready", flush=True)  # noqa: T201
        while True:
            switch, _ = server.accept()
            threading.Thread(target=control, args=(switch,), daemon=True).start()


def control(switch: socket.socket) -> None:
    """Greet a bridge, give it its flow and keep the line alive."""
    bridge = SimpleNamespace(ofproto=of, ofproto_parser=messages, id=0, set_xid=lambda _: None)
    normal = [messages.OFPActionOutput(of.OFPP_NORMAL)]
    apply = [messages.OFPInstructionActions(of.OFPIT_APPLY_ACTIONS, normal)]
    greeting = messages.OFPHello(bridge, elements=[])
    flow = messages.OFPFlowMod(bridge, priority=1, match=messages.OFPMatch(), instructions=apply)
    for number, message in enumerate((greeting, flow)):
        message.set_xid(number + 1)
        message.serialize()
        switch.sendall(bytes(message.buf))
    print("switch", flush=True)  # noqa: T201
    while head := switch.recv(_HEADER.size, socket.MSG_WAITALL):
        _, kind, length, xid = _HEADER.unpack(head)
        body = switch.recv(length - _HEADER.size, socket.MSG_WAITALL) if length > 8 else b""
        if kind == of.OFPT_ECHO_REQUEST:
            reply = _HEADER.pack(of.OFP_VERSION, of.OFPT_ECHO_REPLY, length, xid)
            switch.sendall(reply + body)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
