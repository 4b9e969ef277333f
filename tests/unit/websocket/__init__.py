"""Tests of ``wsaas/websocket/``."""
