"""What a player reads when a relay refuses or ends something (SPEC 4 and 6).

A relay sends these as the `text` of REFUSE and BYE; a client shows them as they are, or its own words for the reason.
All are ASCII, short enough for one line on a small screen, and say what to do where a player can do something.
"""

from protocol.constants import ByeReason, Refusal, RequestRefusal

REFUSAL_TEXTS: dict[Refusal, str] = {
    Refusal.VERSION: "This game and the server speak different versions. Update the older one.",
    Refusal.NO_SUCH_ROOM: "There is no room with this code. Check the code, or create the room.",
    Refusal.ROOM_EXISTS: "A room with this code exists already. Join it, or choose another code.",
    Refusal.ROOM_FULL: "This room is full.",
    Refusal.SERVER_FULL: "The server is full. Try again later.",
    Refusal.WRONG_PASSWORD: "The room's password is missing or wrong.",
    Refusal.BAD_CODE: "This is not a room code. A code has 1 to 16 letters A-Z, digits or '-'.",
    Refusal.BAD_NAME: "This name cannot be used. A name has 1 to 32 bytes and no control characters.",
    Refusal.BAD_OPTIONS: "The room's settings are not permitted on this server.",
    Refusal.TOO_MANY_SESSIONS: "Too many players are connected from your network. Try again later.",
    Refusal.UNSUPPORTED: "The server does not support this yet.",
    Refusal.SHUTTING_DOWN: "The server is shutting down. Try again later.",
    Refusal.CANNOT_RESUME: "Your place in this room is no longer kept. Join again.",
    Refusal.BANNED: "You are banned from this room.",
    Refusal.ROOM_LOCKED: "This room is locked. Nobody can join until its host opens it.",
    Refusal.OTHER_VERSION: "This room was opened with another version of the game. Update the older one.",
    Refusal.TOO_MANY_TRIES: "Too many wrong codes. Wait a minute, then try again.",
}
"""One text per reason. VERSION has one for when the ranges are not known; a relay sends `version_text` instead."""

BYE_TEXTS: dict[ByeReason, str] = {
    ByeReason.LEFT: "Left the room.",
    ByeReason.SHUTDOWN: "The server was shut down.",
    ByeReason.TIMEOUT: "The connection was lost.",
    ByeReason.TOO_SLOW: "The connection is too slow to keep up with this room. You may join again.",
    ByeReason.KICKED: "You were removed from the room.",
    ByeReason.REPLACED: "You joined from somewhere else.",
    ByeReason.RESET: "The server was restarted. Join again.",
    ByeReason.ROOM_CLOSED: "The room was closed.",
    ByeReason.PROTOCOL: "The game and the server did not understand each other.",
    ByeReason.BANNED: "You were banned from the room.",
    ByeReason.LOG_GONE: "The connection was lost for too long to go on with it.",
}
"""One text per reason, for BYE and for what a client tells its game."""

REQUEST_TEXTS: dict[RequestRefusal, str] = {
    RequestRefusal.UNKNOWN: "The server does not know this request. It may be older than the game.",
    RequestRefusal.MALFORMED: "The game sent a request that the server cannot read.",
    RequestRefusal.NOT_HOST: "Only the host of the room may do that.",
    RequestRefusal.NOT_OWNER: "This belongs to another player.",
    RequestRefusal.NO_SUCH_PLAYER: "This player is not in the room.",
    RequestRefusal.CHANGED: "Somebody else has changed this first.",
    RequestRefusal.TOO_MANY: "The room cannot hold more of these.",
    RequestRefusal.NOT_KEPT: "There is no kept message of yours with this number.",
}
"""One text per reason, for what a client tells its game."""


def version_text(client_min: int, client_max: int, server_min: int, server_max: int) -> str:
    """Say which side to update when two revision ranges have nothing in common.

    Args:
        client_min: Lowest revision the client speaks, from its HELLO. Any u16, also above `client_max`.
        client_max: Highest revision the client speaks.
        server_min: Lowest revision the server speaks.
        server_max: Highest revision the server speaks.
    Returns: ASCII, shorter than MAX_TEXT_BYTES whatever the numbers.
    Raises: ValueError if the ranges overlap: then there is nothing to refuse.
    """
    if client_min > client_max:
        return f"The game states no valid protocol range ({client_min} to {client_max}). Update the game."
    game, server = _range_text(client_min, client_max), _range_text(server_min, server_max)
    if client_max < server_min:
        return f"The game speaks protocol {game}, the server {server}. Update the game."
    if client_min > server_max:
        return f"The game speaks protocol {game}, the server {server}. Ask for an update of the server."
    raise ValueError(f"revisions {game} and {server} overlap; permitted: ranges without a common revision")


def _range_text(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
