"""One client's life: its states, the order of its messages, its room, its timers, its one DELETE.

No I/O: nothing here knows HTTP, Autobahn or treq. What it needs of them is declared in :mod:`.interfaces`.
"""
