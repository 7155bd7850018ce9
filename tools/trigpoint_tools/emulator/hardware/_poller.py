# How asyncio waits for streams. MicroPython's own poll() wakes up a thousand times a second for a stream that is no
# file descriptor, such as ThreadSafeFlag or a TLS connection: 200 idle boards would take a whole machine. Here each
# board sleeps until there is something to do.

import io
import select
import ssl

import _host
import _wait

_wrap = ssl.SSLContext.wrap_socket
_carriers = []  # the newest TLS connections: their ids, and the descriptors of the sockets under them


def _wrap_socket(self, sock, *args, **options):
    stream = _wrap(self, sock, *args, **options)
    if len(_carriers) == 4:
        _carriers.pop(0)
    _carriers.append((id(stream), sock.fileno()))
    return stream


ssl.SSLContext.wrap_socket = _wrap_socket


def _carrier(stream):
    for number, descriptor in reversed(_carriers):
        if number == id(stream):
            return descriptor


class Poller:
    # What asyncio uses in place of select.poll().
    def __init__(self):
        self.poll = select.poll()
        self.poll.register(_host.FD, select.POLLIN)
        self.flags = {}  # id: (flag, mask). Only a timer sets one, so they are asked after the timers.
        self.tls = select.poll()
        self.masks = {}  # id: (descriptor, mask) of TLS connections
        self.ready = []

    def register(self, stream, mask):
        if isinstance(stream, io.IOBase):
            self.flags[id(stream)] = (stream, mask)
            return
        descriptor = None if hasattr(stream, "fileno") else _carrier(stream)
        if descriptor is None:
            self.poll.register(stream, mask)
        else:
            self.tls.register(stream, mask)
            self.masks[id(stream)] = (descriptor, mask)
            self.poll.register(descriptor, select.POLLIN)

    modify = register

    def unregister(self, stream):
        if self.flags.pop(id(stream), None):
            return
        tls = self.masks.pop(id(stream), None)
        if tls:
            self.tls.unregister(stream)
            self.poll.unregister(tls[0])
        else:
            self.poll.unregister(stream)

    def ipoll(self, ms):
        ready = self.ready
        ready.clear()
        while True:
            _wait.run_due()
            for stream, mask in self.flags.values():
                event = stream.ioctl(3, mask)
                if event:
                    ready.append((stream, event))
            if self.masks:
                for stream, event in self.tls.ipoll(0):
                    ready.append((stream, event))
            for stream, event in self.poll.ipoll(0 if ready else self.limit(ms)):
                if stream == _host.FD:
                    _host.listen()
                elif type(stream) is not int:
                    ready.append((stream, event))
            # asyncio asks to wait for ever only if nothing but a stream can wake it, and then must be given one.
            if ready or ms >= 0:
                return ready

    def limit(self, ms):
        # A TLS connection that cannot write waits for the peer's next record or for room to send. For the first its
        # socket wakes us. To be woken for the second would wake us at once in the first case, so it is looked for.
        for _, mask in self.masks.values():
            if mask & select.POLLOUT and not 0 <= ms < 20:
                ms = 20
        return _wait.limit(ms)
