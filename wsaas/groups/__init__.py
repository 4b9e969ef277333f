"""Who belongs together, and how one message reaches them all: groups, users, everyone (protocol §6).

Nothing here knows HTTP or Autobahn. A publication is a value that can travel between processes.

``names``: names and targets, as they stand in paths and headers. ``headers``: the other headers of a publish.
"""
