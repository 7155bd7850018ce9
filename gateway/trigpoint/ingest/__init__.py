"""From the broker to the disk: receive, decide, store, acknowledge."""
