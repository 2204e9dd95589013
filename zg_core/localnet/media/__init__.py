"""Images and sound by rule: what a local model makes of a prompt, a picture or a recording.

Everything is deterministic and real: PNG files that decode, WAV files read with the standard library.
"""
