"""Training: photographs to the two `.model` files of a mode.

settings.py   what a run is asked for
data.py       folders and tar files to random crops
drawn.py      drawn pictures beside the photographs
start.py      the model before the first step
loss.py       rate plus distortion, and its measurement on whole images
optimizer.py  named groups of parameters, the learning rate, clipping
run.py        the state of a run, saved and restored
loop.py       the steps, from top to bottom
carried.py    a run that goes from one machine to another
export.py     trained weights to files
log.py        what a run tells
workers.py    the processes of torchrun, and signals

Commands: campaign.py with stages.py and progress.py, the long training; detail_steps.py, the tables of the
detail layer; trials.py; profile.py
"""
