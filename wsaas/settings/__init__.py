"""The operator's text, checked and turned into the packages' frozen settings.

Each package declares in its own ``settings`` what it is told; nothing below imports this one.

``table``: names, defaults and rules of all settings. ``values``: how values are written. ``names``: near misses of
names. ``read``: all of them together. ``show``: ``--print-config``. ``advice``: warnings at the start.
"""
