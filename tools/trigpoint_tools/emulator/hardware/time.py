# time as on the ESP32: the epoch is 2000, and the clock is the RTC, which runs at the world's speed. Ticks and sleeps
# are real, so that network time-outs mean what they say.


from struct import unpack

import _builtin
import _host
import _wait
from micropython import const

_time = _builtin.load("time")

ticks_ms = _time.ticks_ms
ticks_us = _time.ticks_us
ticks_cpu = _time.ticks_cpu
ticks_add = _time.ticks_add
ticks_diff = _time.ticks_diff

_EPOCH = const(946684800)  # 2000-01-01 as seconds since 1970
_rtc = 0  # microseconds since 2000 at boot


def _set_rtc(us):
    global _rtc
    _rtc = us - _wait.world_us()


def _fault(payload):
    # The RTC jumps, and the crystal's rate changes.
    global _rtc
    jump, num, den = unpack("<qQI", payload)
    _rtc += jump
    _wait.begin(_wait.real_ns(), num, den)


_host.clock_fault = _fault


def _rtc_us():
    return _rtc + _wait.world_us()


def time():
    return _rtc_us() // 1000000


def time_ns():
    return _rtc_us() * 1000


def gmtime(seconds=None):
    return _time.gmtime((time() if seconds is None else seconds) + _EPOCH)[:8]


localtime = gmtime


def mktime(date):
    return _time.mktime(date) - _EPOCH


def sleep(seconds):
    _wait.wait(int(seconds * 1000))


def sleep_ms(ms):
    _wait.wait(ms)


def sleep_us(us):
    if us >= 1000:
        _wait.wait(us // 1000)
        us %= 1000
    _time.sleep_us(us)
