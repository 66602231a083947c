"""Image files to 8-bit colours and what goes with them, and back; see `picture.py`."""
