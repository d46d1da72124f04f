"""The built-in bundle store: archives named by their digest, their addresses for agents, and a look inside."""
