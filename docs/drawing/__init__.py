"""What docs/draw.py draws."""
