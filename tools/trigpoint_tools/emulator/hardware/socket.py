# socket, where names are looked up through the emulated Wi-Fi: the address that comes back leads through the emulator's
# access point, which can lose the connection.


import _builtin
import _host

_socket = _builtin.load("socket")

for _name in dir(_socket):
    if _name[0] != "_":
        globals()[_name] = getattr(_socket, _name)


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    datagram = type == _socket.SOCK_DGRAM
    kind = _host.RESOLVE_DATAGRAM if datagram else _host.RESOLVE
    reply = _host.call(kind, port.to_bytes(2, "little"), host.encode())
    type = _socket.SOCK_DGRAM if datagram else _socket.SOCK_STREAM
    return _socket.getaddrinfo("127.0.0.1", reply[0] | reply[1] << 8, _socket.AF_INET, type)
