"""Tests of ``wsaas/demo/``."""
