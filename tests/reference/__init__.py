"""Slow, plain-Python forms of the engine's vectorised stages. They share nothing with them but the schemas."""
