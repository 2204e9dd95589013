"""What all commands share: options, where they print and how, how they fail, and how they reach the network.

What is kept for the next run is here, too. The commands themselves are one folder up.
"""
