"""Draws docs/images/wiring-*.svg, one picture a sensor, with the pins of `trigpoint_tools.pins`."""
