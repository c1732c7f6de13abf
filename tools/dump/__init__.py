"""`tickrelay dump`: see every packet between players and a relay."""
