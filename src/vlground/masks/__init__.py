"""Which part of an image is shown, given a map; and controls that owe nothing to the map.

A raw map is min-max normalised and resized to relevance v in 0-1 (`relevance`), which becomes how
much of each pixel is shown, and a picture (`soft`); `controls` are for judging the judge.
"""
