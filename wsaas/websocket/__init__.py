"""The clients' side: from the head of a handshake to WebSocket frames (RFC 6455, RFC 7692).

Nothing here knows the API or pushes.

``handshake``: what one must be like, and the status with which it is refused. ``origins``: matches ``WS_ORIGINS``,
and no more. ``upgrade``: asks the API. ``takeover``: from HTTP to frames. ``protocol``, on ``autobahn_base``: the
connection in Autobahn's terms. ``frames``: plain frames as bytes. ``send_queue``: what waits for a client.
``compression``: permessage-deflate.
"""
