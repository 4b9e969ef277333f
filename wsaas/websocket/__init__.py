"""The clients' side: from the head of a handshake to WebSocket frames (RFC 6455, RFC 7692).

Nothing here knows the API or pushes.
"""
