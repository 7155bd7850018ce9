"""The board's clock: the count that never jumps, and when an ack may move the wall clock."""

from boardrunner import run

# A clock whose seconds a test sets, with the ESP32's epoch.
_WORLD = """
import sys, time as real

class Time:
    now = 0
    EPOCH = 946684800
    def time(self):
        return self.now
    def gmtime(self, seconds):
        return real.gmtime(seconds + self.EPOCH)[:8]

class Rtc:
    def datetime(self, date):
        year, month, day, _, hour, minute, second, us = date
        assert us == 0
        world.now = real.mktime((year, month, day, hour, minute, second, 0, 0)) - Time.EPOCH

world = Time()
from trig import clock as module
module.time = world
UNIX = 1_800_000_000
"""


def test_readings_keep_their_distance_when_the_clock_is_set() -> None:
    run(
        _WORLD
        + """
c = module.Clock(Rtc())
assert not c.is_set and c.unix(0) is None and c.to_next(3600) == 3600_000
world.now += 100
assert c.seconds() == 100
assert c.adjust(UNIX * 1000, 90, 100)
assert c.is_set and c.seconds() == 100 and c.unix(100) == UNIX and c.unix(40) == UNIX - 60
world.now += 10
assert c.seconds() == 110 and c.unix(110) == UNIX + 10 and c.corrections == 0
assert c.to_next(3600) == (3600 - (UNIX + 10) % 3600) * 1000
"""
    )


def test_the_count_goes_on_when_the_clock_falls_back() -> None:
    run(
        _WORLD
        + """
c = module.Clock(Rtc())
assert c.adjust(UNIX * 1000, 0, 0)
world.now += 100
assert c.seconds() == 100
world.now -= 7200
assert c.seconds() == 100 and c.unix(100) == UNIX + 100 - 7200
world.now += 50
assert c.seconds() == 150
assert c.adjust((UNIX + 150) * 1000, 149, 150) and c.error_s == 7200
assert c.seconds() == 150 and c.unix(100) == UNIX + 100
world.now -= 7200
assert c.adjust((UNIX + 160) * 1000, 150, 150)  # nobody has asked for the count in between
world.now += 10
assert c.seconds() >= 150
"""
    )


def test_only_a_time_that_cannot_be_right_corrects_a_set_clock() -> None:
    run(
        _WORLD
        + """
c = module.Clock(Rtc())
c.adjust(UNIX * 1000, 0, 0)
world.now += 1000
for offset in (988, 990, 1000, 1002):
    assert not c.adjust((UNIX + offset) * 1000 + (0 if offset > 999 else 999), 990, 1000), offset
assert c.unix(1000) == UNIX + 1000
assert c.adjust((UNIX + 987) * 1000, 990, 1000)
assert c.unix(1000) == UNIX + 987 and c.seconds() == 1000 and c.corrections == 1
assert c.adjust((UNIX + 5000) * 1000, 990, 1000)
assert c.unix(1000) == UNIX + 5000
"""
    )


def test_a_clock_that_ran_through_a_reset_is_set_from_the_start() -> None:
    run(
        _WORLD
        + """
world.now = UNIX - Time.EPOCH
c = module.Clock(Rtc())
assert c.is_set and c.seconds() == 0 and c.unix(0) == UNIX
"""
    )


def test_a_time_from_before_boards_existed_is_ignored() -> None:
    run(
        _WORLD
        + """
c = module.Clock(Rtc())
assert not c.adjust(1000, 0, 0) and not c.is_set
"""
    )


def test_ntp_keeps_the_clock_near_what_the_acks_say_and_no_further() -> None:
    run(
        _WORLD
        + """
c = module.Clock(Rtc())
assert c.source == "" and not c.take_ntp(1000) and c.refused == 1 and not c.is_set
assert c.take_ntp((UNIX + 5000) * 1000) and c.source == "ntp"
assert c.take_ntp(UNIX * 1000) and c.unix(0) == UNIX and c.corrections == 1, "nothing has confirmed the first"
assert not c.adjust((UNIX + 60) * 1000, 0, 0) and c.error_s == 60, "an ack within a minute confirms it"
assert c.take_ntp((UNIX + 60) * 1000) and c.error_s == 60 and c.unix(0) == UNIX + 60
assert not c.take_ntp((UNIX + 121) * 1000) and not c.take_ntp((UNIX - 1) * 1000) and c.refused == 3
world.now += 6400
assert c.take_ntp((UNIX + 60 + 6400 + 160) * 1000), "a second more for each 64"
assert not c.take_ntp((UNIX + 60 + 6400 + 160 + 161) * 1000) and c.refused == 4
assert not c.take_ntp((UNIX + 60 + 6400 + 161) * 1000) and c.refused == 4, "right to the second"
"""
    )


def test_acks_overrule_ntp_but_only_the_third_in_a_row() -> None:
    run(
        _WORLD
        + """
c = module.Clock(Rtc())
c.take_ntp(UNIX * 1000)
wrong = (UNIX - 3600) * 1000
assert not c.adjust(wrong, 0, 0) and not c.adjust(wrong, 0, 0) and c.error_s == -3600 and c.refused == 2
assert not c.adjust(UNIX * 1000, 0, 0), "one that agrees begins the count again"
assert not c.adjust(wrong, 0, 0) and not c.adjust(wrong, 0, 0)
assert c.adjust(wrong, 0, 0) and c.source == "ack" and c.unix(0) == UNIX - 3600
assert not c.take_ntp(UNIX * 1000) and c.unix(0) == UNIX - 3600, "now NTP is the one that is too far off"
assert c.adjust(UNIX * 1000, 0, 0) and c.unix(0) == UNIX, "without NTP in charge one ack is enough"
assert not c.take_ntp(UNIX * 1000) and c.source == "ntp"
"""
    )


def test_ntp_corrects_what_ran_on_through_a_reset() -> None:
    run(
        _WORLD
        + """
world.now = UNIX - Time.EPOCH
c = module.Clock(Rtc())
assert c.source == "rtc" and c.take_ntp((UNIX + 500) * 1000) and c.corrections == 1 and c.source == "ntp"
"""
    )
