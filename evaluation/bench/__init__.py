"""What `bench.py` measures: how long everything takes, and how much memory.

run.py            all parts in turn, with date, machine and versions; the file that keeps it
coder.py          the arithmetic coder, in its engines and beside constriction
constriction.py   constriction's range coder as one of the engines
codecs.py         the codecs, ours and the others
sizes.py          each codec at each size, by child.py in a process of its own
commands.py       encode.py and decode.py, as a shell runs them
stages.py         where the time of one picture goes
photograph.py     the picture
launch.py         a command in a process of its own: output, seconds and peak memory
table.py          results as one table, exponents, and which goals are met
chart.py          results as a picture

A row is a dict with its "part" of the bench and what it is "of"; "encode seconds" and "decode seconds" are
lists, one number a run, and a row of which something could not be measured has a "note" that says why.
"""
