"""``docs/protocol.rst``, row by row, over real sockets of loopback."""
