"""The readings between measuring and signing."""


class Batch:
    """The readings measured and not yet signed, and the rule for when to sign them."""

    def __init__(self, samples, age_s, pack):
        """A statement is due after so many samples, or when the oldest of them is so many seconds old.

        ``pack``: an empty trig.senml.Pack.
        """
        self.pack = pack
        self.samples = 0
        self._max_samples = samples
        self._age_s = age_s

    def clear(self):
        """Forget what is signed."""
        self.pack.clear()
        self.samples = 0

    def due(self, now, urgent):
        """Whether to sign now: full, too old, or ``urgent`` and not empty. ``now`` is on the clock's count."""
        if not self.pack.count:
            return False
        return urgent or self.samples >= self._max_samples or now - self.pack.first_time >= self._age_s
