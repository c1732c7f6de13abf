"""The only rooms with sockets: one `DatagramTransport` per way in, all feeding the same protocol object."""
