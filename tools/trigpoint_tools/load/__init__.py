"""A load of signed statements from thousands of boards, through a real broker."""
