"""Tests of WSAAS: ``trial tests``."""
