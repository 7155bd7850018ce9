"""Sensors and other parts that hang on an emulated board, modelled at register level."""
