"""How fast kvmlab is beside what it stands on; ``./lab bench`` asks all questions.

Each module named in `benchmarks.questions` asks one question and says what is measured
against what. README.md has the list, with the limits and the reasons for them.
"""
