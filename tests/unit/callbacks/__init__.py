"""Tests of ``wsaas/callbacks/``."""
