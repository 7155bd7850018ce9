"""A complete set-up of the Mosquitto broker: authority, certificate, configuration, access list and passwords."""
