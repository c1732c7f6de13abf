"""Addresses as the engine holds them: 28 bytes, or seven uint32, laid out as the `sockaddr_in6` of Linux.

So the batch transport hands addresses between kernel and engine without converting them; the asyncio transport
packs its tuples into the same form. IPv4 is mapped into IPv6 (RFC 4291 2.5.5.2). The flow label is always 0, for an
address is host, port and scope (RFC 6437 lets a path change it).
"""

import ipaddress
import struct

ADDRESS_BYTES = 28
ADDRESS_WORDS = 7
"""An address as uint32: family and port, flow label (0), four of host, scope id."""
_FAMILY = 10
"""AF_INET6 on Linux. Other systems number it otherwise, but only the batch transport shows it to a kernel."""
_PORT = struct.Struct(">H")
_SCOPE = struct.Struct("=I")
_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK_V4 = _MAPPED + b"\x7f"
_LOOPBACK_V6 = bytes(15) + b"\x01"


def pack_address(host: str, port: int, scope: int = 0) -> bytes:
    """Pack a numeric host and a port into the engine's 28 bytes.

    Raises: ValueError if `host` is not a numeric IPv4 or IPv6 address (a scope after % is cut off; pass `scope`).
    """
    ip = ipaddress.ip_address(host.partition("%")[0])
    packed = _MAPPED + ip.packed if ip.version == 4 else ip.packed
    return struct.pack("=H", _FAMILY) + _PORT.pack(port) + bytes(4) + packed + _SCOPE.pack(scope)


def unpack_address(address: bytes) -> tuple[str, int, int]:
    """Unpack 28 bytes into host (IPv4 where mapped), port and scope."""
    host = address[8:24]
    port = _PORT.unpack_from(address, 2)[0]
    if host[:12] == _MAPPED:
        return str(ipaddress.IPv4Address(host[12:])), port, 0
    return str(ipaddress.IPv6Address(host)), port, _SCOPE.unpack_from(address, 24)[0]


def format_address(address: bytes) -> str:
    """Write an address for people: 192.0.2.1:24545 or [2001:db8::1]:24545."""
    host, port, scope = unpack_address(address)
    if ":" not in host:
        return f"{host}:{port}"
    return f"[{host}%{scope}]:{port}" if scope else f"[{host}]:{port}"


def host_of(address: bytes) -> bytes:
    """Return the bytes that name a host for the cap of sessions per address.

    The whole IPv4 address, or the /64 of an IPv6 one: a single customer is given a /64, so it is one host to a cap.
    """
    host = address[8:24]
    return host if host[:12] == _MAPPED else host[:8]


def is_loopback(address: bytes) -> bool:
    """Tell whether an address is of this machine: what counts players by their host does not count there."""
    host = address[8:24]
    return host.startswith(_LOOPBACK_V4) or host == _LOOPBACK_V6
