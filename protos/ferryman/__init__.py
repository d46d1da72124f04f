"""What both ends of Ferryman must agree on: the wire contract, the AppSpec, channel options, failure reasons.

The version of all four distributions is written here and nowhere else.
"""

__version__ = "0.1.0"
