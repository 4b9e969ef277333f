"""Tests of ``wsaas/settings/``."""
