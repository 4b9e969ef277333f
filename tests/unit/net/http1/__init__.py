"""Tests of ``wsaas/net/http1/``."""
