"""Tests of ``wsaas/pushes/``."""
