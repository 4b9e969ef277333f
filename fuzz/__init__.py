"""
Fuzzing: ``python -m fuzz`` gives every parser that touches bytes from outside inputs by the hundred thousand.

Each target takes one input, in memory and without a network, and either says what came of it or raises. Inputs are made
by a grammar and then damaged (:mod:`fuzz.inputs`); with the extra ``fuzz`` (atheris), coverage leads the way.
"""
