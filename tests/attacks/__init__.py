"""Attacks: what was tried, what came back, what the API was told, and that nobody else noticed.

Each test method that is marked with :func:`tests.attacks.attack.attack` is a row of the table in ``docs/security.rst``;
``python -m tests.attacks`` writes it.
"""
