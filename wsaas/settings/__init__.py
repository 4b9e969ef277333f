"""The operator's text, checked and turned into the packages' frozen settings.

Each package declares what it is told; nothing below imports this one.
"""
