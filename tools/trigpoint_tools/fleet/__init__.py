"""Fleets of emulated boards under faults: what a scenario says, when its faults come, what is done, and what came out.

`scenario` reads a TOML file, `schedule` makes of it a list of events, `runner` plays them on real parts and tells an
`events.Observer` how it goes, and `result` is what it returns.
"""
