"""Evaluation: real files of ours and of other codecs, decoded and compared with the original.

images.py    which files are measured
measure.py   everything that is measured of an image
rivals.py    the other codecs
metrics.py   PSNR, MS-SSIM, SSIMULACRA2, Butteraugli, LPIPS, BD-rate
butteraugli.py   one of these, by its program
versions.py  of the codecs and packages
heatmap.py   where the bits of a file go
results.py   rows, their files, and what is computed from them
tables.py    results for a terminal or a document
charts.py    results as pictures
report.py    results as a page, from report.html
blind.py     a blind test for the eye, a page from blind.html
pages.py     what the two pages share
compare.py   files on disk beside JPEG, a program of its own
sheet.py     crops to look at, a program of its own
panels.py    what the two draw with
bench/       what `bench.py` measures: seconds and memory
"""
