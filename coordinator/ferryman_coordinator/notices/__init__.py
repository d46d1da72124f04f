"""Tells the world: events become deliveries, and deliveries reach their sinks, whatever becomes of the deployment."""
