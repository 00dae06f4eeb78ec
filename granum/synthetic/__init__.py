"""Data rendered from a seed: every kind of annotation, and all of it true."""

from granum.synthetic.generate import Generated, generate

__all__ = ["Generated", "generate"]
