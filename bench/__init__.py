"""
Benchmarks: ``python -m bench`` measures what one core of a gateway does, side by side with its peers.

The system under test has a core of its own; the API (``sink/``) and the load generator (``generator/``) have one each,
or one together where there are only two. If one of these two was the bottleneck of a run, its rates are void. All of it
stays on loopback.
"""
