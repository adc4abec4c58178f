"""Ways to get a vector to a server and another one back, for `distributed_channels.py`."""
