"""The command ``wsaas``: the gateway as ``twistd -n wsaas`` runs it, and what one tries it with.

``main``: which command is meant. ``words``: command lines, and what comes from the environment. ``requests``: pushes
and publishes. ``client``: a WebSocket client that speaks in lines.
"""
