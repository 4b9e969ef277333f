"""WSAAS, WebSocket as a Service: holds WebSocket connections and speaks plain HTTP to a back end."""

__version__ = "0.1.0"
