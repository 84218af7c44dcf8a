"""`make bench-nimble`: the engines' speed, each figure beside C that runs on the same machine in the same minute.

``programs`` holds each program twice, in the Python subset and in C, with the same algorithm; ``cases`` says on what
data they run. Whatever is measured here is measured through what everybody uses: ``translate``, ``Thread.run``,
``Host``. Nothing outside imports from here but what ``dispatch`` counts.
"""
