"""What an operator starts, stops, watches and reads.

``service``: start, checks, stop. ``drain``: the end of all connections. ``signals``. ``systemd``: ready, watchdog.
``admin``: health pages. ``metrics``: names, help texts and values. ``log_stream``: where log lines are written.
``refused_pushes``: their numbers, in the log. ``loop_lag``, ``process``, ``garbage``: the process itself.
"""
