"""Where alarms come from: sources behind one small protocol, and the one poller that asks them for all deployments."""
