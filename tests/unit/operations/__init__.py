"""Tests of ``wsaas/operations/``."""
