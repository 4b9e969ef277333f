"""Tests of ``wsaas/connections/``."""
