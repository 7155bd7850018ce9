# esp32 as on the ESP32, as far as a Trigpoint board uses it: NVS. Values live with the emulator.

from struct import pack, unpack

import _host


class NVS:
    def __init__(self, namespace):
        _check(namespace)
        self._namespace = namespace

    def _key(self, key):
        _check(key)
        return ("%s\0%s\0" % (self._namespace, key)).encode()

    def get_i32(self, key):
        return unpack("<i", _host.call(_host.NVS_GET_I32, self._key(key)))[0]

    def set_i32(self, key, value):
        _host.call(_host.NVS_SET_I32, self._key(key), pack("<i", value))

    def get_blob(self, key, buffer):
        blob = _host.call(_host.NVS_GET_BLOB, self._key(key))
        size = len(blob)
        if size > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[:size] = blob
        return size

    def set_blob(self, key, value):
        _host.call(_host.NVS_SET_BLOB, self._key(key), value)

    def erase_key(self, key):
        _host.call(_host.NVS_ERASE_KEY, self._key(key))

    def commit(self):
        _host.call(_host.NVS_COMMIT)


def _check(name):
    if not 0 < len(name) <= 15:
        raise OSError(-0x1106, "ESP_ERR_NVS_INVALID_NAME")
