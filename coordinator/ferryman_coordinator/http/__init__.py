"""The HTTP door: bundles for agents, and what monitoring asks for."""
