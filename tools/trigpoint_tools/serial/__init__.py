"""Boards on a cable: found, flashed, filled, enrolled. Commands are in `trigpoint.commands`."""
