"""The only rooms with sockets: one transport per way in and out, all feeding the same receiver."""
