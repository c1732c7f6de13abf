"""The recorded fingerprint of the layouts: a change of the wire must not slip into a released revision.

While `released` is false the record just follows the code. Whoever releases a revision sets it to true by hand; from
then on another fingerprint needs another REVISION_MAX or another feature bit.
"""

import json

from protocol import codec, constants

PATH = "protocol/vectors/fingerprint.json"


class FrozenLayoutError(Exception):
    """The wire of a released revision changed."""


def current() -> dict[str, object]:
    """Describe the code as it is: revision, feature bits it knows, fingerprint."""
    return {
        "revision_max": constants.REVISION_MAX,
        "features": getattr(constants, "FEATURES", 0),
        "fingerprint": f"0x{codec.FINGERPRINT:08x}",
    }


def build_text(recorded: str, now: dict[str, object] | None = None) -> str:
    """Make the record from the one that is there ("" = none) and the code as it is (`now`: the tests' own).

    Raises: FrozenLayoutError if the recorded revision is released, is still the newest, and its fingerprint differs.
    """
    now = now or current()
    old = json.loads(recorded) if recorded else {"released": False}
    same_version = all(old.get(name) == now[name] for name in ("revision_max", "features"))
    if old["released"] and same_version and old["fingerprint"] != now["fingerprint"]:
        raise FrozenLayoutError(
            f"the layouts of revision {now['revision_max']} are released and have changed "
            f"({old['fingerprint']} -> {now['fingerprint']}): raise REVISION_MAX or define a feature bit"
        )
    record = {**now, "released": bool(old["released"] and same_version)}
    return json.dumps(record, indent=1) + "\n"
