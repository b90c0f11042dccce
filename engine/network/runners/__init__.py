"""Runners: one for each way of executing a network over samples. `opening` chooses."""
