"""What a file keeps of a picture exactly, beside what the transforms keep of the rest: text and drawings."""
