"""Makes ``wsaas`` a sub-command of ``twistd``; nothing else."""

from twisted.application.service import ServiceMaker

wsaas = ServiceMaker("wsaas", "wsaas.tap", "WebSocket as a Service: WebSockets in, plain HTTP out.", "wsaas")
