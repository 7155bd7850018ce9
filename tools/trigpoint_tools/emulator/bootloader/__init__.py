"""The ROM bootloader of an ESP32, as esptool speaks to it."""
