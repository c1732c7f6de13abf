"""Writes all that is made from the code: tables in SPEC.md and README.md, test vectors, the recorded fingerprint.

`python -m tools.generate` rewrites the files, `python -m tools.generate --check` names those that are stale. Expected
values of the vectors' meanings are written by hand or computed with plain arithmetic here, never by the functions that
the vectors are to test.
"""
