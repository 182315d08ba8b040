"""Descriptors that pass from process to process through Unix sockets, one with each byte."""

import _socket


def _socket_of(descriptor: int) -> _socket.socket:
    return _socket.socket(fileno=descriptor)


def send(through: int, descriptor: int) -> None:
    socket = _socket_of(through)
    socket.sendmsg([b"d"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, "little"))])
    socket.detach()


def receive(through: int) -> int:
    """Receive a descriptor as the lowest free one. Raises EOFError if the other end is closed."""
    socket = _socket_of(through)
    message, ancillary, *_ = socket.recvmsg(1, _socket.CMSG_LEN(4))
    socket.detach()
    if not message:
        raise EOFError("no descriptor came")
    return int.from_bytes(ancillary[0][2], "little")
