"""Tests of ``wsaas/net/``."""
