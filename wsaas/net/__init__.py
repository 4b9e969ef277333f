"""Sockets and TLS: where the gateway listens, what it writes to, whom it trusts.

Another server would want all of it too: nothing here knows what a WebSocket, a push or a callback is.
"""
