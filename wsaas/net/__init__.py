"""Sockets and TLS: where the gateway listens, what it writes to, whom it trusts.

Another server would want all of it too: nothing here knows what a WebSocket, a push or a callback is.

``listen`` and ``descriptions``: endpoints. ``descriptors``: file descriptors. ``transport`` and ``reactor``: quick
writes and turns. ``proxy_protocol``: the PROXY protocol. ``server_tls``: TLS of clients and pushers. ``client_tls``:
TLS with the API, and the causes of its failures (in whole sentences: ``callbacks.failures``). ``pem``: certificate
files. ``resolver`` and ``host_names``: looking names up. ``unix_uri``: HTTP servers on UNIX sockets.
"""
