"""Program: send standard input to a unix socket and print the body of the HTTP answer."""

import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        connection.sendall(sys.stdin.buffer.read())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    sys.stdout.buffer.write(answer.partition(b"\r\n\r\n")[2])
