"""Tells Home Assistant of each verified sensor by MQTT discovery."""
