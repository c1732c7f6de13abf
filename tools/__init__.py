"""Users of `relay` and `protocol` by their public names: the command, the generators, the files for deployment."""
