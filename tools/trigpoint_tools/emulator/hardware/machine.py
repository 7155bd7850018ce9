# machine as on the ESP32, as far as a Trigpoint board uses it.

import sys
import time
from struct import pack, unpack

import _builtin
import _host
import _wait
from micropython import const

PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)

_sleep_us = _builtin.load("time").sleep_us
_id = b""
_cause = 0
_frequency = 160000000


def unique_id():
    return _id


def reset_cause():
    return _cause


def reset():
    _host.call(_host.RESET, bytes((HARD_RESET,)))


def soft_reset():
    _host.call(_host.RESET, bytes((SOFT_RESET,)))


def deepsleep(ms=0):
    # Does not return: the board boots again after so many milliseconds of the world; 0: never.
    _host.call(_host.DEEP_SLEEP, pack("<QQ", ms, _wait.cpu_us()))


def freq(hertz=None):
    global _frequency
    if hertz is None:
        return _frequency
    if hertz not in (20000000, 40000000, 80000000, 160000000, 240000000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _frequency = hertz


def idle():
    _wait.wait(1)


class Pin:
    IN = const(1)
    OUT = const(3)
    OPEN_DRAIN = const(7)
    PULL_DOWN = const(1)
    PULL_UP = const(2)
    IRQ_RISING = const(1)
    IRQ_FALLING = const(2)

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        if not 0 <= id <= 48:
            raise ValueError("invalid pin")
        self.id = id
        if mode != -1 or pull != -1 or value is not None:
            self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None):
        pull = 0 if pull is None else pull & 255
        _host.call(_host.PIN_SET, bytes((self.id, mode & 255, pull, 255 if value is None else value != 0)))

    def value(self, value=None):
        if value is None:
            return _host.call(_host.PIN_GET, bytes((self.id,)))[0]
        self.init(value=value)

    __call__ = value

    def on(self):
        self.init(value=1)

    def off(self):
        self.init(value=0)

    def irq(self, handler=None, trigger=3):
        # Soft interrupts only: the handler runs where the code waits.
        _wait.handlers[self.id] = (lambda: handler(self)) if handler else None
        _host.call(_host.PIN_IRQ, bytes((self.id, trigger if handler else 0)))


def _number(pin):
    return pin.id if isinstance(pin, Pin) else pin


class I2C:
    def __init__(self, id=0, *, scl=None, sda=None, freq=400000, timeout=50000):
        if id not in (0, 1):
            raise ValueError("I2C(%d) doesn't exist" % id)
        self._head = bytearray(7)
        self._head[0] = (18, 25)[id] if scl is None else _number(scl)
        self._head[1] = (19, 26)[id] if sda is None else _number(sda)
        self._head[5] = freq // 1000 & 255
        self._head[6] = freq // 1000 >> 8
        self._timeout = timeout
        _host.call(_host.I2C_INIT, self._head[:2])

    def _transfer(self, address, data, size):
        head = self._head
        head[2] = address
        head[3] = size & 255
        head[4] = size >> 8
        try:
            return _host.call(_host.I2C_TRANSFER, head, data)
        except OSError as error:
            if error.errno == 116:
                _sleep_us(self._timeout)  # as in the ESP32's driver, nothing else runs meanwhile
            raise

    def scan(self):
        found = []
        for address in range(8, 120):
            try:
                self._transfer(address, b"", 0)
                found.append(address)
            except OSError:
                pass
        return found

    def writeto(self, address, data, stop=True):
        self._transfer(address, data, 0)
        return len(data)

    def readfrom(self, address, size, stop=True):
        return self._transfer(address, b"", size)

    def readfrom_into(self, address, buffer, stop=True):
        buffer[:] = self._transfer(address, b"", len(buffer))

    def writeto_mem(self, address, register, data, *, addrsize=8):
        self._transfer(address, register.to_bytes(addrsize // 8, "big") + data, 0)

    def readfrom_mem(self, address, register, size, *, addrsize=8):
        return self._transfer(address, register.to_bytes(addrsize // 8, "big"), size)

    def readfrom_mem_into(self, address, register, buffer, *, addrsize=8):
        buffer[:] = self._transfer(address, register.to_bytes(addrsize // 8, "big"), len(buffer))


class UART:
    # Reads never wait: timeout is 0, as the ESP32 has it unless told otherwise.
    def __init__(self, id, baudrate=115200, *, tx=None, rx=None, timeout=0, rxbuf=256):
        self._id = id
        tx, rx = [-1 if pin is None else _number(pin) for pin in (tx, rx)]
        _host.call(_host.UART_INIT, pack("<BbbIH", id, tx, rx, baudrate, rxbuf))

    def any(self):
        return unpack("<H", _host.call(_host.UART_ANY, bytes((self._id,))))[0]

    def read(self, size=256):
        return _host.call(_host.UART_READ, pack("<BH", self._id, size)) or None

    def readinto(self, buffer, size=None):
        data = self.read(len(buffer) if size is None else size)
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def write(self, data):
        _host.call(_host.UART_WRITE, bytes((self._id,)), data)
        return len(data)

    def deinit(self):
        pass


class ADC:
    ATTN_0DB = const(0)
    ATTN_2_5DB = const(1)
    ATTN_6DB = const(2)
    ATTN_11DB = const(3)

    def __init__(self, pin, *, atten=ATTN_0DB):
        self._request = bytes((_number(pin), atten))

    def read_uv(self):
        return unpack("<i", _host.call(_host.ADC_READ, self._request))[0]


class Counter:
    RISING = const(1)
    FALLING = const(2)

    def __init__(self, id, src, *, edge=RISING, filter_ns=0):
        if not 0 <= id < 8:
            raise ValueError("invalid unit")
        self._id = bytes((id,))
        _host.call(_host.COUNTER_INIT, bytes((id, _number(src), edge)))

    def value(self):
        return unpack("<q", _host.call(_host.COUNTER_VALUE, self._id))[0]


class RTC:
    def datetime(self, date=None):
        if date is None:
            us = time._rtc_us()
            year, month, day, hour, minute, second, weekday, _ = time.gmtime(us // 1000000)
            return (year, month, day, weekday, hour, minute, second, us % 1000000)
        year, month, day, _, hour, minute, second, us = date
        us += time.mktime((year, month, day, hour, minute, second, 0, 0)) * 1000000
        time._set_rtc(us)
        _host.call(_host.RTC_SET, pack("<q", us))

    init = datetime

    def memory(self, data=None):
        if data is None:
            return _host.call(_host.RTC_MEMORY_GET)
        if len(data) > 2048:
            raise ValueError("buffer too long")
        _host.call(_host.RTC_MEMORY_SET, data)


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        _host.call(_host.WATCHDOG_START, pack("<I", timeout))

    def feed(self):
        _host.call(_host.WATCHDOG_FEED)


class Timer:
    ONE_SHOT = const(0)
    PERIODIC = const(1)

    def __init__(self, id, **options):
        if not 0 <= id < 4:
            raise ValueError("invalid Timer number")
        for timer in _wait.timers[:]:
            if timer.id == id:  # the same hardware
                timer.deinit()
        self.id = id
        if options:
            self.init(**options)

    def init(self, *, mode=PERIODIC, period=-1, freq=None, callback=None):
        self.deinit()
        self.period = int(1000000 / freq) if freq else period * 1000
        if self.period <= 0:
            raise ValueError("period or freq is needed")
        self.periodic = mode == Timer.PERIODIC
        self.callback = callback
        self.due = _wait.world_us() + self.period
        _wait.timers.append(self)

    def deinit(self):
        if self in _wait.timers:
            _wait.timers.remove(self)

    def fire(self, now):
        if self.periodic:
            # Alarms that nobody took in time are merged, as in the ESP32's full queue.
            self.due += self.period * ((now - self.due) // self.period + 1)
        else:
            self.deinit()
        if self.callback:
            try:
                self.callback(self)
            except Exception as error:
                sys.print_exception(error)
