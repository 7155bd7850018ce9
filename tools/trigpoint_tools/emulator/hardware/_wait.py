# World time, timers, pin interrupts, and every way in which the board's code can wait.
#
# Timer callbacks and the handlers of pin interrupts run where the board's code waits: in asyncio, in time.sleep*, in
# machine.idle. All waiting is one poll() with the right timeout, so an idle board uses no processor time.

import select

import _builtin
import _host

_time = _builtin.load("time")

ticks_ms = _time.ticks_ms
ticks_diff = _time.ticks_diff
real_ns = _time.time_ns
timers = []
handlers = {}  # pin: what to call at its edges

_start = 0
_base = 0
_num = 1
_den = 1


def begin(start_ns, num, den):
    # From now on the crystal has this rate. Timers keep their number of its microseconds.
    global _start, _base, _num, _den
    _base = world_us() if _start else 0
    _start = start_ns
    _num = num
    _den = den


def cpu_us():
    # Microseconds that this process has computed.
    return int(_time.clock() * 1000000)


def world_us():
    # Microseconds of the world since this boot.
    return _base + (real_ns() - _start) // 1000 * _num // _den


def run_due():
    while _host.edges:
        handler = handlers.get(_host.edges.pop(0))
        if handler:
            handler()
    if not timers:
        return
    now = world_us()
    for timer in timers[:]:
        if timer in timers and timer.due <= now:
            timer.fire(now)


def limit(ms):
    # The milliseconds to wait: ms (below 0: for ever), or less if a timer is due before.
    if _host.edges:
        return 0
    if timers:
        now = world_us()
        for timer in timers:
            left = max(0, -((now - timer.due) * _den // _num // 1000))
            if ms < 0 or left < ms:
                ms = left
    return ms


_idle = select.poll()
_idle.register(_host.FD, select.POLLIN)


def wait(ms):
    start = ticks_ms()
    while True:
        run_due()
        left = ms - ticks_diff(ticks_ms(), start)
        if left <= 0:
            return
        if _idle.poll(limit(left)):
            _host.listen()
