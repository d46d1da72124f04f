"""The commands of ferryman-agent, one module for each subject; `main.py` has the arguments and prints."""
