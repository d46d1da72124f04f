"""The standing streams of the agents, as the rest of the coordinator sees them: orders go in, silence comes out."""
