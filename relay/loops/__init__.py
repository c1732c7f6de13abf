"""The engine's stages as loops over single datagrams, compiled by numba: `pip install 'tickrelay[fast]'`."""
