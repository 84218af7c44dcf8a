"""Fuzzing of the engines in lockstep with a reference interpreter that shares no code with them.

``case`` says what one fuzz case is, ``programs`` and ``mutations`` make them, ``world`` is what a case's program can
touch, ``reference`` interprets it, ``lockstep`` compares, ``shrink`` makes a difference small, ``driver`` runs many.
Nothing here knows how an engine works: only ``lockstep`` imports them, by name.
"""
