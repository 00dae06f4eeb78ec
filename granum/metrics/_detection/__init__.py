"""Detections that are matched by argmax, and the average precision of any."""
